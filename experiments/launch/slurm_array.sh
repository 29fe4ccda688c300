#!/usr/bin/env bash
#SBATCH --job-name=sweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --time=4:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@60
#
# The cells of a sweep as an array of Slurm, one GPU for each, four at a time:
#
#   sbatch --array=0-11%4 experiments/launch/slurm_array.sh \
#     --experiment=dark_room_q --sweep=method.batch_size=32,64,128 \
#     --sweep=seed=0..3
#
# The same flags with --dry_run print this line. The n-th of the array runs cell
# n, and writes the table of what is there. When all are done, the same flags
# with --best, not as an array, have the best meet the held-out tasks. Edit: the
# resources above, and where the shared file system is.
#
# A minute before the time limit, and when it is preempted, a cell saves and is
# queued again, and so it is if its node is lost; an error of its own ends it,
# and no other.
shared=/shared/adjax  # Edit: a folder that all nodes see.
restarts=100          # In case it is killed, for want of memory, every time.

# By the array and the number: the id of one of its jobs is that of the array.
job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
# The signal is for the process; this shell stays to see how it ends.
trap : TERM
srun python -m experiments.run --workdir="$shared/runs/$SLURM_JOB_NAME" "$@"
code=$?

# As in slurm.sh.
if ((code > 128 && code != 130 && ${SLURM_RESTART_COUNT:-0} < restarts)) &&
  [[ $(squeue --noheader --jobs="$job" --format=%T) == RUNNING ]]; then
  scontrol requeue "$job"
fi
exit "$code"
