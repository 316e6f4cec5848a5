#!/bin/bash
# A search as a job of Slurm, from the root of the repository, which all nodes must share: sbatch cluster/slurm.sh
# A job that has ended before its search goes on with it when it is submitted again.
#SBATCH --job-name=cmd_tune
#SBATCH --nodes=2                # EDIT
#SBATCH --cpus-per-task=16       # EDIT: of a node
#SBATCH --gpus-per-node=1        # EDIT: without GPUs leave it out
#SBATCH --time=1-00:00:00        # EDIT
#SBATCH --exclusive              # Ray stops all Ray processes of yours on a node when it ends there
#SBATCH --ntasks-per-node=1      # a Ray node each
#SBATCH --signal=TERM@120        # before the time is over, the search ends in order
#SBATCH --requeue                # after a node was lost
#SBATCH --open-mode=append
set -euo pipefail

STORAGE=${STORAGE:-/shared/runs} # EDIT: a folder that all nodes share
NAME=${NAME:-mine}               # EDIT
OPTIONS=${OPTIONS:---space temps.yaml --data /shared/ntu60.arrow --preset paper} # EDIT
# export MLFLOW_TRACKING_URI=http://HOST:5000 # EDIT: else MLflow's database is in the storage

cd "$SLURM_SUBMIT_DIR"
. "${VENV:-.venv}/bin/activate"

# Who lacks this job's token cannot use its Ray; it is in no file.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds, for the last node

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
# shellcheck disable=SC2086 # options are words
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" ray symmetric-run \
    --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
    -- cluster/search.sh "$STORAGE" "$NAME" $OPTIONS
