#!/bin/sh
# Runs a command of the build with the building machine's certificate authority and package index settings, where the build was given
# them as secrets. They are mounted for that one command and lie in no layer.
set -eu
if [ -s /mnt/ca ]; then
    export SSL_CERT_FILE=/mnt/ca PIP_CERT=/mnt/ca APT_CONFIG=/mnt/apt.conf
    echo 'Acquire::https::CAInfo "/mnt/ca";' >/mnt/apt.conf
fi
if [ -s /mnt/pip.conf ]; then export PIP_CONFIG_FILE=/mnt/pip.conf; fi
if [ -s /mnt/uv.toml ]; then export UV_CONFIG_FILE=/mnt/uv.toml; fi
exec "$@"
