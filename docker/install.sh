#!/bin/sh
# Installs into the image's environment what it is told to, with bytecode, because the running image cannot write any; and takes away
# what no running image reads: the packages' own tests, and headers and static libraries, which are for a compiler that is not there.
set -eu
place=/opt/cavmae
export UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
[ -d $place ] || /mnt/tools/uv venv --quiet --python "$(command -v python3)" $place
/mnt/tools/uv pip install --python $place/bin/python "$@"
find $place/lib -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
find $place/lib -type f \( -name '*.a' -o -name '*.pyx' -o -name '*.pxd' \) -delete
rm -rf $place/.lock /tmp/uv-*.lock
# where a wheel lay during the build means nothing afterwards
find $place/lib -path '*.dist-info/direct_url.json' -delete
