# SPDX-License-Identifier: Apache-2.0
# run.sh PYTHON [ARGUMENTS OF PYTEST]: all tests. Those of ROS graphs mostly wait for real time to
# pass, so two files of them run at once, and those that only compute beside them. Where the promised
# times are asked for, one test runs after the other: two graphs are more than two cores can do in
# real time.
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
    "$python" -m pytest -rsR -m graph -n 2 --dist loadfile --reruns 1 "$@" test
    graphs=$?
    wait $computing
    rest=$?
fi
cat "$log"
[ $graphs -eq 0 ] && [ $rest -eq 0 ]
