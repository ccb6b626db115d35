#!/bin/sh
# One Dask worker for one GPU: the command of the image's target `gpu`.
# Four threads: while one block is on the device, the others are read; a block task asks for GPU: 1, so GPU=4 lets
# as many in.
set -eu

: "${GEOSEG_SCHEDULER:?set it to the Dask scheduler, for example tcp://dask-scheduler:8786}"

# Without this a missing driver shows only as a run that is fifty times slower.
python -c '
import sys, torch
if not torch.cuda.is_available():
    sys.exit(f"torch {torch.__version__} sees no GPU: start the container with one (--gpus, or the device "
             f"reservation in compose.yaml) and check that the driver knows CUDA {torch.version.cuda}")
print("GPU:", torch.cuda.get_device_name(0), flush=True)
'

# --memory-limit: the default is the share of one thread in all cores, a sixteenth of the memory on 16 cores.
# --death-timeout: a worker that has lost its scheduler ends, and the restart policy brings it back.
exec dask worker "$GEOSEG_SCHEDULER" --nthreads 4 --resources "GPU=4" \
    --memory-limit "${GEOSEG_WORKER_MEMORY:-8GiB}" --local-directory /tmp --no-dashboard --death-timeout 60
