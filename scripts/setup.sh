# shellcheck shell=bash
# Shared by run, test and bench: finds cargo, installs Debian packages, builds the
# executables. Sourced, never run.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# rustup sets PATH in files that a non-interactive shell does not read.
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
command -v cargo >/dev/null || die "cargo is not installed: see https://rustup.rs"

# install PACKAGE...: installs Debian packages as root; other users are told what to type.
install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "missing packages; run: sudo apt-get update && sudo apt-get install -y $*"
    fi
    local log
    log=$(mktemp)
    say "installing $*"
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
                install -y --no-install-recommends "$@"
    } >"$log" 2>&1 </dev/null || { cat "$log" >&2; die "cannot install $*"; }
    rm -f "$log"
}

# need COMMAND PACKAGE...: installs the packages unless the command exists.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null || install "$@"
}

# need_tool NAME VERSION [OPTION]...: puts a cargo subcommand that Debian 12 lacks on PATH.
# Built unoptimised it takes less than a minute on 2 cores, and is fast enough.
need_tool() {
    local name=$1 version=$2
    shift 2
    PATH="$target/tools/bin:$PATH"
    ! command -v "$name" >/dev/null || return 0
    say "building $name (once)"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR="$target/tools/build" \
        cargo install "$name" --version "$version" --locked --quiet \
        --debug --no-default-features "$@" --root "$target/tools" >&2 || return 1
    rm -rf "$target/tools/build"
}

# What the build needs besides Rust: ring, zstd and the bundled SQLite compile C, and
# Rust links through cc. It needs no cmake, make or pkg-config.
need_compiler() { need cc gcc libc6-dev; }

# build quick|release|dev: builds supervisor, worker and the origin server, into $built.
# quick is for a first run: it builds in less than half the time, and runs almost as fast (Cargo.toml).
# One command builds all three: another choice of packages would enable other cargo
# features and cause a second build. Shows cargo's output only the first time, which
# takes minutes, or when the build fails.
build() {
    need_compiler
    built=$target/$1
    [ "$1" != dev ] || built=$target/debug
    local build=(cargo build --profile "$1" --locked --manifest-path "$repo/Cargo.toml"
        -p supervisor -p worker -p e2e --bin supervisor --bin worker --bin origin)
    if [ ! -x "$built/supervisor" ]; then
        say "building (a few minutes, once)"
        "${build[@]}" >&2 </dev/null || exit 1
        return
    fi
    local log
    log=$(mktemp)
    "${build[@]}" >"$log" 2>&1 </dev/null || { cat "$log" >&2; rm -f "$log"; exit 1; }
    rm -f "$log"
}

# generate DIR: lets supervisor write its man pages and completions.
generate() {
    rm -rf "$1/man" "$1/completions"
    mkdir -p "$1/completions"
    "$built/supervisor" man "$1/man"
    "$built/supervisor" completions bash >"$1/completions/supervisor"
    "$built/supervisor" completions zsh >"$1/completions/_supervisor"
    "$built/supervisor" completions fish >"$1/completions/supervisor.fish"
}

target=${CARGO_TARGET_DIR:-$repo/target}
