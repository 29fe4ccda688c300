#!/usr/bin/env bash
# One process on each worker of a Cloud TPU slice, from a machine with gcloud:
#
#   bash experiments/launch/tpu_vm.sh --experiment=dark_room_hard --size=gpu
#
# Edit: the slice, and the NFS share that all workers mount. On it, put there
# once, are this project in adjax/ and a Python environment for it, with
# jax[tpu], in venv/.
#
# A worker that is told to stop saves within 30 s. A slice that was preempted is
# made again, and the run goes on where it was. An error of the run itself,
# 1, ends this script. To stop the run on all workers, with its state saved:
#
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all \
#     --command='pkill -TERM -f experiments.run'
set -uo pipefail
name=adjax
zone=us-west4-a
slice=(--accelerator-type=v5litepod-16 --version=v2-alpha-tpuv5-lite --spot)
share=10.0.0.2:/share
shared=/mnt/shared
workdir=$shared/runs/$name

tpu() {
  gcloud compute tpus tpu-vm "$1" "$name" --zone="$zone" "${@:2}"
}

mount="mountpoint -q $shared || { sudo apt-get -qq install nfs-common &&
  sudo mkdir -p $shared && sudo mount $share $shared; }"
program="cd $shared/adjax && $shared/venv/bin/python -m experiments.run \
  --distributed --workdir=$workdir --compilation_cache=$shared/cache \
  ${*:+$(printf '%q ' "$@")}"

while true; do
  case $(tpu describe --format='value(state)' 2>/dev/null || echo NONE) in
    READY) ;;
    PREEMPTED | TERMINATED) tpu delete --quiet || sleep 60; continue ;;
    # There may be no such slice to have right now.
    NONE) tpu create "${slice[@]}" || sleep 60; continue ;;
    *) sleep 60; continue ;;
  esac
  # Each worker tells its exit code; a lost one cannot.
  said=$(tpu ssh --worker=all \
    --command="$mount; ($program); echo \"ended with \$?.\"" | tee /dev/stderr)
  case $said in
    *'ended with 1.'*) exit 1 ;;
    *'ended with 0.'*) exit 0 ;;
    *'ended with 143.'*)
      # Somebody stopped it, unless the slice is going away.
      sleep 60
      [[ $(tpu describe --format='value(state)') == READY ]] && exit 143
      ;;
    *) sleep 60 ;;
  esac
done
