#!/usr/bin/env bash
# Set up everything agentkit needs to run and to be worked on, in this folder's .venv.
#
# Safe to run again, to interrupt and to run as root or as an ordinary user: what is done is not done twice, and
# a second run with nothing to do takes about a second. Installs nothing outside .venv, the wheel cache and the
# model store; system packages are only named, never installed.
#
#   scripts/setup.sh               everything
#   scripts/setup.sh --no-models   without fetching the default models
#
# PYTHON          which Python to use (3.11 or newer)
# XDG_CACHE_HOME  where the built engine is kept (default ~/.cache)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV=.venv
readonly STAMP=$VENV/agentkit-setup
readonly ENGINE_STAMP=$VENV/agentkit-engine
readonly CACHE=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/agentkit/wheels
readonly CHAT_MODEL=smollm2-135m EMBEDDING_MODEL=minilm-l6-v2
readonly VENV_MEGABYTES=3500

scratch=
started=$SECONDS

say() { printf '%s\n' "$*"; }
step() { printf '\n[%s/5] %s\n' "$1" "$2"; }
fail() { # message, hint
  printf '\nagentkit: error: %s\n' "$1" >&2
  printf 'agentkit: hint: %s\n' "$2" >&2
  exit 1
}
clean_up() { if [ -n "$scratch" ]; then rm -rf "$scratch"; fi; }
interrupted() {
  printf '\nagentkit: interrupted; what is done is kept: run `make setup` to go on\n' >&2
  exit 130
}
trap clean_up EXIT
trap interrupted INT TERM

hash_of() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-16; }

python_is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() { # prefers 3.11: what constraints.txt was resolved for
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
    if command -v "$candidate" >/dev/null && python_is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer was found" \
    "install one ($(install_line python3 python3-venv)), or name it: PYTHON=/path/to/python3.11 make setup"
}

install_line() {
  if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then say "apt-get install -y $*"; else say "sudo apt-get install -y $*"; fi
  else
    say "with your system's package manager: $*"
  fi
}

processor() { # what a native build depends on: never run one on another processor
  { uname -sm; grep -m1 -E '^(flags|Features)' /proc/cpuinfo || sysctl -n machdep.cpu.brand_string || true; } 2>/dev/null
}

# Flags that keep gcc's build from crashing on processors with AMX (docs/adr/0005-engine-worker.md).
engine_flags() {
  local flags='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
  if [ "$(uname -m)" = x86_64 ] && "${CC:-cc}" $flags -x c -fsyntax-only /dev/null 2>/dev/null; then
    printf -- "-DLLAVA_BUILD=OFF -DCMAKE_C_FLAGS='%s' -DCMAKE_CXX_FLAGS='%s'" "$flags" "$flags"
  else
    printf -- '-DLLAVA_BUILD=OFF'
  fi
}

run_pip() { # log, arguments: quiet on the terminal, whole in the log, and an error people can act on
  local log=$1 status=0
  shift
  set -m # a process group of its own, so that an interrupt ends the compilers too
  "$VENV/bin/python" -m pip --disable-pip-version-check "$@" </dev/null >"$log" 2>&1 &
  set +m
  local pid=$! shown=$((SECONDS / 15)) now doing
  trap 'kill -- -$pid 2>/dev/null; interrupted' INT TERM
  while kill -0 $pid 2>/dev/null; do
    sleep 0.5
    now=$((SECONDS / 15))
    if [ $now -ne $shown ]; then
      shown=$now
      doing=$(progress_of "$log")
      say "      $((SECONDS - started)) s  ${doing:-working}"
    fi
  done
  wait $pid || status=$?
  trap interrupted INT TERM
  [ $status = 0 ] || explain "$log"
}

progress_of() {
  tail -n 200 "$1" | tr '\r' '\n' |
    grep -oE '^ *\[ *[0-9]+(%|/[0-9]+)\].*|^ *(Collecting|Processing|Downloading|Using cached|Installing|Building|Preparing|Getting) .*' |
    tail -n 1 | sed -E 's/^ +//; s/ -o .*//; s/^(\[ *[0-9]+(%|\/[0-9]+)\]).*/building \1/' | cut -c1-88 || true
}

explain() {
  tail -n 15 "$1" >&2
  if grep -qiE 'No space left on device|Disk quota exceeded' "$1"; then
    fail "the disk is full" "free about $VENV_MEGABYTES MB here and in $CACHE, then run \`make setup\` again"
  elif grep -qiE 'NewConnectionError|NameResolutionError|Temporary failure in name resolution|Network is unreachable|ConnectTimeout|Read timed out|ProxyError' "$1"; then
    fail "the package index cannot be reached" "check the connection or the proxy, then run \`make setup\` again: what is done is kept"
  elif grep -qF 'No matching distribution found' "$1"; then
    fail "the package index cannot be reached, or does not have this" "check the connection, and PIP_INDEX_URL if you set it; then run \`make setup\` again"
  elif grep -qiE 'CMAKE_C(XX)?_COMPILER|No CMAKE|CMake Error|fatal error: .* No such file|is not able to compile' "$1"; then
    fail "the engine could not be built" "$(install_line gcc g++ cmake make), then run \`make setup\` again"
  fi
  fail "pip failed; its last lines are above" "run \`make setup\` again; if it fails the same way, \`make clean\` first"
}

check_space() {
  local free
  free=$(df -Pm . | awk 'NR == 2 { print $4 }')
  if [ -n "$free" ] && [ "$free" -lt "$VENV_MEGABYTES" ]; then
    fail "$free MB are free here, $VENV_MEGABYTES MB are needed" "free some space, or put the project on another disk"
  fi
}

drop_half_installed() { # pip writes RECORD last; without it an interrupted install would count as done
  local folder
  for folder in $VENV/lib/python3*/site-packages/*.dist-info; do
    if [ -d "$folder" ] && [ ! -s "$folder/RECORD" ]; then
      say "      $(basename "$folder" .dist-info) was left half installed; it is installed again"
      rm -rf "$folder"
    fi
  done
}

make_environment() {
  if [ -x $VENV/bin/python ] && $VENV/bin/python -c 'import pip' 2>/dev/null; then
    say "      $VENV is there ($($VENV/bin/python --version))"
    drop_half_installed
    return
  fi
  local python
  python=$(find_python)
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python cannot make environments" "$(install_line python3-venv), then run \`make setup\` again"
  check_space
  say "      making $VENV with $("$python" --version) from $python"
  rm -rf $VENV
  "$python" -m venv $VENV
}

build_engine() { # into: the folder the wheel ends in
  local missing=() each
  for each in "${CC:-cc}:gcc" "${CXX:-c++}:g++" cmake:cmake make:make; do
    command -v "${each%%:*}" >/dev/null || missing+=("${each##*:}")
  done
  [ ${#missing[@]} = 0 ] ||
    fail "${missing[*]} is needed to build the engine" "$(install_line "${missing[@]}"), then run \`make setup\` again"
  mkdir -p "$CACHE"
  scratch=$(mktemp -d "$CACHE/.building-XXXXXX")
  say "      building llama.cpp for this processor: about four minutes on two cores, once"
  run_pip "$scratch/fetch.log" download --no-deps --no-binary llama-cpp-python --dest "$scratch" "$engine_pin"
  # From a local file and without pip's cache: pip would reuse a wheel built with other flags, or for another CPU.
  CMAKE_ARGS="$cmake_args" CMAKE_BUILD_PARALLEL_LEVEL=$(nproc 2>/dev/null || echo 2) \
    PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    run_pip "$scratch/build.log" wheel -v --no-deps --no-cache-dir --wheel-dir "$scratch/wheel" "$scratch"/llama_cpp_python-*.tar.gz
  unpack_templates "$scratch"/llama_cpp_python-*.tar.gz "$scratch/wheel/chat-templates"
  rm -rf "$1"
  mv "$scratch/wheel" "$1"
  rm -rf "$scratch"
  scratch=
}

unpack_templates() { # archive, folder: the chat templates of real models, which the tests read where they are there
  tar -tzf "$1" | grep '/vendor/llama\.cpp/models/templates/.*\.jinja$' >"$scratch/templates" || return 0
  mkdir -p "$2"
  tar -xzf "$1" -C "$2" --strip-components 5 -T "$scratch/templates" || rm -rf "$2"
}

install_engine() {
  local cmake_args engine_pin key folder
  engine_pin=$(grep -i '^llama[-_]cpp[-_]python==' constraints.txt)
  cmake_args=$(engine_flags)
  key=$(printf '%s\n' "$engine_pin" "$cmake_args ${CMAKE_ARGS:-}" "$("${CC:-cc}" --version 2>/dev/null | head -n 1)" "$(processor)" | hash_of)
  cmake_args="$cmake_args ${CMAKE_ARGS:-}"
  if [ "$(cat $ENGINE_STAMP 2>/dev/null)" = "$key" ]; then
    say "      llama.cpp for this processor is there"
    return
  fi
  folder=$CACHE/$key
  if ! compgen -G "$folder/*.whl" >/dev/null; then
    build_engine "$folder"
  else
    say "      using the wheel built before ($folder)"
  fi
  scratch=$(mktemp -d)
  run_pip "$scratch/log" install --no-deps --no-index --force-reinstall "$folder"/*.whl
  rm -rf $VENV/chat-templates
  if [ -d "$folder/chat-templates" ]; then cp -r "$folder/chat-templates" $VENV/; fi
  rm -rf "$scratch"
  scratch=
  printf '%s' "$key" >$ENGINE_STAMP
}

install_torch() { # first, alone, and exactly this version
  if $VENV/bin/python -c 'import importlib.metadata as m, sys; sys.exit(m.version("torch").split("+")[0] != sys.argv[1])' \
    "$(sed -n 's/^torch==//p' constraints.txt)" 2>/dev/null; then
    say "      torch is there"
    return
  fi
  check_space
  scratch=$(mktemp -d)
  run_pip "$scratch/log" install --constraint constraints.txt torch
  rm -rf "$scratch"
  scratch=
}

install_rest() {
  scratch=$(mktemp -d)
  $VENV/bin/python -c '
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["dev"], sep="\n")' >"$scratch/requirements"
  run_pip "$scratch/log" install --constraint constraints.txt --requirement "$scratch/requirements"
  run_pip "$scratch/log" install --no-deps --no-build-isolation --editable .
  rm -rf "$scratch"
  scratch=
}

models_present() {
  local store=${AGENTKIT_MODELS:-${AGENTKIT_HOME:-${XDG_DATA_HOME:-${HOME:-/tmp}/.local/share}/agentkit}/models}
  [ -s "$store/$CHAT_MODEL/manifest.json" ] && [ -s "$store/$EMBEDDING_MODEL/manifest.json" ]
}

fetch_models() {
  if models_present; then
    say "      $CHAT_MODEL and $EMBEDDING_MODEL are there"
    return
  fi
  $VENV/bin/agentkit models pull $CHAT_MODEL $EMBEDDING_MODEL </dev/null ||
    fail "the default models could not be fetched" "run \`make setup\` again, or \`scripts/setup.sh --no-models\` to go on without them"
}

say_what_degrades() {
  [ "$(uname -s)" = Linux ] || return 0
  command -v bwrap >/dev/null ||
    say "      optional: bubblewrap is not installed: tools run under Landlock and seccomp instead, which hide less. $(install_line bubblewrap)"
}

main() {
  local models=yes fingerprint
  case ${1:-} in
    '') ;;
    --no-models) models=no ;;
    *) fail "unknown option $1" "scripts/setup.sh [--no-models]" ;;
  esac
  fingerprint=$({ cat constraints.txt pyproject.toml scripts/setup.sh; processor; pwd; } | hash_of)
  if [ "$(cat $STAMP 2>/dev/null)" = "$fingerprint" ] && { [ $models = no ] || models_present; }; then
    return
  fi
  say "Setting up agentkit in $PWD"
  step 1 "Python environment"
  make_environment
  step 2 "torch (CPU)"
  install_torch
  step 3 "llama.cpp"
  install_engine
  step 4 "everything else, at the versions of constraints.txt"
  install_rest
  step 5 "default models"
  if [ $models = yes ]; then fetch_models; else say "      left out (--no-models)"; fi
  say_what_degrades
  printf '%s' "$fingerprint" >$STAMP
  printf '\nReady after %s s. Next: make demo\n' "$((SECONDS - started))"
}

main "$@"
