#!/usr/bin/env bash
# Several processes on this machine that work on one run, for trying what
# happens on many machines:
#
#   PROCESSES=2 bash experiments/launch/local.sh \
#     --experiment=quick --workdir=runs/two
#
# Edit nothing; flags are experiments.run's. SIGTERM and Ctrl-C are passed on:
# every process finishes its epoch or gives it up, and the same command takes
# the run up again, with the same number of processes or another.
set -uo pipefail
processes=${PROCESSES:-2}
port=${PORT:-12355}

pids=()
for ((i = 0; i < processes; i++)); do
  python -m experiments.run --distributed \
    --coordinator_address="127.0.0.1:$port" \
    --num_processes="$processes" --process_id="$i" --cpu_devices=1 "$@" &
  pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM
# Bash lets what runs in the background ignore Ctrl-C.
trap 'kill -INT "${pids[@]}" 2>/dev/null' INT

worst=0
for pid in "${pids[@]}"; do
  wait "$pid"
  code=$?
  # A signal ends the wait, not the process.
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid"
    code=$?
  done
  ((code > worst)) && worst=$code
done
exit "$worst"
