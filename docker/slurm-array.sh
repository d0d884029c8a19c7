#!/bin/bash
# Coordinators of one search as a job array, one GPU each; all share one Postgres study.
#
#   export SEQUIFIER_HPO_STORAGE=postgresql://user@host/studies     # password: ~/.pgpass
#   sbatch docker/slurm-array.sh configs/hyperparameter_search.yaml
#
#SBATCH --job-name=sequifier-hpo
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --time=12:00:00
#SBATCH --requeue
# A minute and a half before the time is up, so that running trials can write their checkpoints:
#SBATCH --signal=TERM@90
#SBATCH --output=logs/slurm-%A_%a.log

set -euo pipefail

search=${1:?usage: sbatch docker/slurm-array.sh SEARCH_FILE}
: "${SEQUIFIER_HPO_STORAGE:?name the Postgres storage that all tasks share}"

status=0
# srun passes the signal on to the search itself.
srun sequifier-hpo hyperparameter-search --config-path "$search" || status=$?

# 143: stopped by SIGTERM with everything saved. The same task goes on with a new time limit, unless it
# was cancelled: then it does not count as running any more.
state=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T || true)
if [[ $status -eq 143 && $state == RUNNING ]]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
    exit 0
fi
exit "$status"
