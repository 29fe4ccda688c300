#!/usr/bin/env bash
#SBATCH --job-name=adjax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@60
#
# One process for each GPU of a Slurm allocation:
#
#   sbatch --job-name=hard experiments/launch/slurm.sh \
#     --experiment=dark_room_hard --size=gpu
#
# A job of the same name takes the run up again. Edit: the resources above, and
# where the shared file system is. JAX gives the n-th process of a node its n-th
# GPU: ask for GPUs by node, not by task. On nodes without GPUs,
# ntasks-per-node=1 and no gpus-per-node.
#
# A minute before the time limit, and when it is preempted, every process gets
# SIGTERM, saves and exits with 143; the job is queued again and goes on where
# it was. So it does if a node is lost (137, or 134 from those who lost it). An
# error of the run itself, 1, ends the job, and so does scancel.
shared=/shared/adjax  # Edit: a folder that all nodes see.
restarts=100          # In case it is killed, for want of memory, every time.

# The signal is for the processes; this shell stays to see how they end.
trap : TERM
# Who exits first must not take the others' time to save: no kill on bad exit.
srun --kill-on-bad-exit=0 --wait=60 python -m experiments.run --distributed \
  --workdir="$shared/runs/$SLURM_JOB_NAME" "$@"
code=$?

# 128 + n is signal n. A job that is preempted at once, or cancelled, is not
# running any more: the first Slurm queues again, the second nobody wants.
if ((code > 128 && code != 130 && ${SLURM_RESTART_COUNT:-0} < restarts)) &&
  [[ $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) == RUNNING ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
