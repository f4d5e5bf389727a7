# SPDX-License-Identifier: Apache-2.0
# run.sh PYTHON [ARGUMENTS OF PYTEST]: all tests. Those of ROS graphs mostly wait for real time to
# pass, so those that only compute run beside them; one after the other where the promised times are
# asked for. (Two graphs at once are more than two cores can do in real time.)
python="$1"
shift
log=$(mktemp)
trap 'rm -f "$log"; kill $computing 2>/dev/null' EXIT
trap 'exit 130' INT TERM
compute() {
    nice -n 10 "$python" -m pytest -rs -m "not graph" "$@" test >"$log" 2>&1
}
if [ -n "$REALTALK_TEST_STRICT" ]; then
    "$python" -m pytest -rs -m graph "$@" test
    graphs=$?
    compute "$@"
    rest=$?
else
    compute "$@" &
    computing=$!
    # As `colcon test --retest-until-pass`: what failed on a busy machine runs once more, and is listed.
    "$python" -m pytest -rsR -m graph --reruns 1 "$@" test
    graphs=$?
    wait $computing
    rest=$?
fi
cat "$log"
[ $graphs -eq 0 ] && [ $rest -eq 0 ]
