"""Networks, trained bundles and prediction. The only importer of segmentation-models-pytorch."""
