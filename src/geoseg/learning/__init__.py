"""From labels to a trained model, and how good a map is: samples, training, scores, a baseline."""
