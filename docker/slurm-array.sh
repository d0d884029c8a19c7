#!/bin/bash
# Coordinators of one search as a job array, one GPU each; all share one Postgres study.
#
#   export SEQUIFIER_HPO_STORAGE=postgresql://user@host/studies     # password: ~/.pgpass
#   sbatch docker/slurm-array.sh configs/hyperparameter_search.yaml
#
# What follows the search file is passed on: --retry-failed, --workers 2.
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
# One log per task, which goes on after a requeue, in a folder that exists: without it nothing is run.
#SBATCH --output=sequifier-hpo-%A_%a.log
#SBATCH --open-mode=append

set -euo pipefail

search=${1:?usage: sbatch docker/slurm-array.sh SEARCH_FILE [ARGUMENTS]}
# Not SLURM_JOB_ID: the last task of an array has the id of the whole array.
task=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
say() { echo "=== $(date '+%F %T') $task on $(hostname), start $((${SLURM_RESTART_COUNT:-0} + 1)): $*"; }

# Slurm may send TERM a minute earlier than it was asked to: with less there is no time for an epoch,
# and the task would return to the queue for ever.
limit=$(squeue --noheader --jobs "$task" --format %l)
if [[ $limit =~ ^[0-2]:[0-9]{2}$ ]]; then
    say "a time limit of $limit is too short: with --time give it 3 minutes or more"
    exit 2
fi

say "begins"
status=0
# srun passes the signal on to the search itself. Since 22.05 it asks for one core if it is not told.
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    sequifier-hpo hyperparameter-search --config-path "$search" "${@:2}" || status=$?

# 143: stopped by SIGTERM with everything saved. The same task goes on with a new time limit, unless it
# was cancelled: then it does not count as running any more.
state=$(squeue --noheader --jobs "$task" --format %T || true)
if [[ $status -eq 143 && $state == RUNNING ]]; then
    say "its time is up: requeued"
    scontrol requeue "$task"
    exit 0
fi
say "ends with exit code $status"
exit "$status"
