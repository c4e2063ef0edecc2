#!/bin/bash
#SBATCH --job-name=dskd
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
# One stage on several machines, from the project's root: sbatch docs/launch/slurm.sh distill --objective kd --seed 0
# Each machine has one task, a launcher that starts a process for each of its GPUs. A job that was cut off is submitted
# again and goes on. Where the environment is one of conda, activate it here.
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"
MAIN=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p) # head would end the pipe, and a slow scontrol with it
export MAIN

# shellcheck disable=SC2016  # each task has a rank of its own, so each task's shell fills it in
srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --config_file docs/launch/nodes.yaml \
    --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * SLURM_GPUS_ON_NODE))" \
    --machine_rank "$SLURM_NODEID" --main_process_ip "$MAIN" -m dskd "$@"' dskd "$@"
