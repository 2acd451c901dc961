#!/bin/bash
# Trains on a Cloud TPU slice; run it from the root of a checkout.
#
#   docs/launch/tpu.sh create               asks for the slice and waits until it is there
#   docs/launch/tpu.sh install              the checkout's last commit and its packages, on all workers
#   docs/launch/tpu.sh train ARGUMENTS      starts `train.py ARGUMENTS` on all workers, and returns
#   docs/launch/tpu.sh keep ARGUMENTS       all of these, and again after each preemption, until the
#                                           training ends
#   docs/launch/tpu.sh logs [WORKER]        follows the output of a worker (0)
#   docs/launch/tpu.sh stop                 saves after the present step, and ends the training
#   docs/launch/tpu.sh delete
#
# Example: docs/launch/tpu.sh keep --config=configs/dcgan_celeba.py --config.batch_size=1024 \
#     --config.data.source=folder:gs://my-bucket/celeba.zip \
#     --workdir=gs://my-bucket/runs/celeba
#
# Settings, from the environment:
set -euo pipefail
NAME=${NAME:-ganjax}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}              # v5p: v5p-32, where the number counts two cores a chip
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite} # v5p: v2-alpha-tpuv5
SPOT=${SPOT-1}                          # cheap, and preempted at times; SPOT= for on demand
PROCESS='^[^ ]*python train[.]py'

main() {
    local command=${1:-help}
    shift || true
    case $command in
        create | install | train | keep | logs | stop | delete) "$command" "$@" ;;
        *) sed -n '2,/^SPOT/{/^set/d;p}' "$0" && exit 2 ;;
    esac
}

create() {
    gcloud compute tpus queued-resources create "$NAME" --zone="$ZONE" --node-id="$NAME" \
        --accelerator-type="$TYPE" --runtime-version="$RUNTIME" ${SPOT:+--spot}
    until [[ $(state) == ACTIVE ]]; do
        [[ $(state) != @(FAILED|SUSPENDED) ]] || fail "the request for $TYPE is $(state)"
        sleep 30
    done
}

install() {
    git archive --format=tar.gz --prefix=ganjax/ --output=/tmp/ganjax.tar.gz HEAD
    gcloud compute tpus tpu-vm scp /tmp/ganjax.tar.gz "$NAME:" --zone="$ZONE" --worker=all
    # The image's own Python is older than ganjax needs.
    workers all '
        set -e
        tar xzf ganjax.tar.gz
        python3 -m pip install --quiet --user uv
        ~/.local/bin/uv venv --quiet --allow-existing --python 3.12 venv
        ~/.local/bin/uv pip install --quiet --python venv/bin/python \
            -e "./ganjax[gs]" "jax[tpu]<0.13"'
}

train() {
    [[ $* == *--workdir=* ]] || fail "give --workdir=DIR, on storage that all workers share"
    local training
    training="$(printf '%q ' ../venv/bin/python train.py --distributed "$@"); echo \$? > ../status"
    # It outlives the connection, and writes `status` when it has ended.
    workers all "
        pgrep -f '$PROCESS' > /dev/null && exit
        cd ganjax && rm -f ../status
        nohup bash -c $(printf '%q' "$training") >> ../train.log 2>&1 < /dev/null &"
}

keep() {
    local result
    while true; do
        if [[ $(state) != ACTIVE ]]; then
            [[ -z $(state) ]] || delete
            create
        fi
        if install && train "$@"; then
            while [[ $(state) == ACTIVE ]]; do
                sleep 60
                result=$(workers 0 'cat status 2> /dev/null' || true)
                [[ -z $result ]] || break 2
            done
        fi
        sleep 60 # a slice that is lost still counts as active for a while
        [[ $(state) != ACTIVE ]] || fail "the training could not be started"
        echo "the slice is lost; asking for another" >&2
    done
    workers 0 'tail -n 3 train.log'
    exit "$result"
}

logs() { workers "${1:-0}" 'tail -n 40 -F train.log'; }

stop() { workers 0 "pkill -TERM -f '$PROCESS'"; } # the others stop after the same step

delete() { gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet; }

state() {
    gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" \
        --format='value(state.state)' 2> /dev/null || true
}

# workers WHICH COMMAND: in the home folder of one worker, or of all
workers() {
    gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

fail() {
    echo "error: $1" >&2
    exit 2
}

main "$@"
