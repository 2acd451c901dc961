#!/bin/bash
# Trains on a SLURM cluster, one process for each GPU:
#
#   sbatch docs/launch/slurm.sh --config=configs/dcgan_celeba.py --workdir=/shared/runs/celeba
#
# Two minutes before its time is up the run saves, leaves and is queued again; as it is after a
# preemption or the loss of a node. `scancel --signal=TERM JOB` saves and queues it again, `scancel
# JOB` ends it. GPUs are asked for by node: JAX itself picks each task's.
#SBATCH --job-name=ganjax
#SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8
#SBATCH --time=24:00:00 --signal=TERM@120
#SBATCH --requeue --open-mode=append --output=%x-%j.log
set -uo pipefail

if [[ $* != *--workdir=* ]]; then
    echo "error: give --workdir=DIR, on storage that all nodes share" >&2
    exit 2
fi
srun --kill-on-bad-exit=1 python train.py "$@"
status=$?
if ((status == 128 + 15)); then # SIGTERM: saved, and not finished
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
