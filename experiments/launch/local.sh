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

# What was ignored when it began, as SIGINT in the background of a script, bash
# cannot trap: then it begins once more, with nothing ignored.
if [[ -n $(trap -p INT TERM) && -z ${ADJAX_SIGNALS:-} ]]; then
  export ADJAX_SIGNALS=default
  if env --default-signal=INT,TERM true 2>/dev/null; then
    exec env --default-signal=INT,TERM bash "$0" "$@"
  fi
  # The env of macOS and of old systems has no such option.
  exec python3 -c 'import os, signal, sys
for number in signal.SIGINT, signal.SIGTERM:
  signal.signal(number, signal.SIG_DFL)
os.execvp("bash", ["bash", *sys.argv[1:]])' "$0" "$@"
fi

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
