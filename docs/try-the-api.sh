#!/usr/bin/env bash
# The calls that phone apps make, one after the other, on a running site with a worker:
#
#   SITE=http://127.0.0.1:8000 VIDEO=clip.mp4 IMAGE=portrait.jpg docs/try-the-api.sh
#
# Needs curl and python3. Makes a new user each time; ends with an error as soon as an answer is not as expected.
set -euo pipefail
SITE=${SITE:-http://127.0.0.1:8000}
VIDEO=${VIDEO:?name a video}
IMAGE=${IMAGE:?name a photo}
SECONDS_TO_WAIT=${SECONDS_TO_WAIT:-300}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
name="tries-$(date +%s)-$RANDOM"
password="a long and unlikely one"

# call STATUS METHOD PATH [curl options…]: shows the answer, and leaves it in $scratch/answer.
call() {
    local expected=$1 method=$2 path=$3
    shift 3
    printf '\n%s %s\n' "$method" "$path"
    local status
    status=$(curl --silent --show-error --max-time 120 --output "$scratch/answer" --write-out '%{http_code}' \
        --request "$method" "$@" "$SITE$path")
    if [ "$(head --bytes 1 "$scratch/answer")" = "{" ]; then
        printf '  %s %s\n' "$status" "$(cut --characters -600 "$scratch/answer")"
    else
        printf '  %s %s bytes\n' "$status" "$(wc --bytes <"$scratch/answer")"
    fi
    if [ "$status" != "$expected" ]; then
        echo "expected $expected" >&2
        exit 1
    fi
}

# take EXPRESSION: a part of the last answer, which Python calls `a`.
take() {
    python3 -c 'import json, sys; a = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$scratch/answer" "$1"
}

# expect EXPRESSION VALUE
expect() {
    local found
    found=$(take "$1")
    if [ "$found" != "$2" ]; then
        echo "expected $1 to be “$2”, not “$found”" >&2
        exit 1
    fi
}

# wait_for LIST: until nothing in this list of the history is being processed.
wait_for() {
    local end=$((SECONDS + SECONDS_TO_WAIT))
    while call 200 POST /fetch-history "${token[@]}" --data "userId=$user" &&
        [ "$(take "any(found['status'] == 'PROCESSING' for found in a['$1'])")" = True ]; do
        if [ $SECONDS -gt $end ]; then
            echo "still not finished; does a worker run?" >&2
            exit 1
        fi
        sleep 2
    done
}

echo "== Sign up and log in"
call 200 POST /users/signup --data-urlencode "username=$name" --data-urlencode "email=$name@example.org" \
    --data-urlencode "password=$password"
expect "a['status']" "Registration Successful!"
call 200 POST /users/login --data-urlencode "username=$name" --data-urlencode "password=$password"
expect "a['status']" "Login Successful!"
token=(--header "Authorization: Bearer $(take "a['token']")")
user=$(take "a['userId']")

echo
echo "== A video: send it, wait for the result, ask for its report, remove it"
call 200 POST /classify "${token[@]}" --form "video=@$VIDEO" --form "userId=$user" --form "caseId=17/2026"
expect "a['message']" "Video is being processed "
video=$(take "a['videoId']")
wait_for vdata
expect "a['vdata'][0]['_id']" "$video"
call 200 GET "/pdf?userId=$user&videoId=$video" "${token[@]}"
expect "a['report']" "$video.pdf"
url=$(take "a['url']")
call 200 GET "${url#"$SITE"}" "${token[@]}" --header "Accept: application/pdf"
test "$(head --bytes 5 "$scratch/answer")" = "%PDF-"
call 200 POST /remove "${token[@]}" --data "userId=$user" --data "videoId=$video"
expect "a['message']" "deletion successful"
call 404 POST /remove "${token[@]}" --data "userId=$user" --data "videoId=$video"
expect "a['error']" "video_not_found"

echo
echo "== An image: send it, wait, ask for the labelled picture and the report, remove it"
call 200 POST /get-image/ "${token[@]}" --form "image=@$IMAGE" --form "userId=$user"
expect "a['message']" "Image is being processed"
image=$(take "a['imageId']")
wait_for idata
call 200 GET "/get-image?userId=$user&imageId=$image" "${token[@]}"
picture=$(take "a['imageFile']")
call 200 GET "/get-image/image?imageFile=$picture" "${token[@]}"
call 200 GET "/pdf-image?imageId=$image&userId=$user" "${token[@]}"
expect "a['report']" "$image.pdf"
call 200 POST /remove/image "${token[@]}" --data "userId=$user" --data "imageId=$image" --data "imageFile=$picture"
expect "a['message']" "deletion successful"
call 200 POST /fetch-history "${token[@]}" --data "userId=$user"
expect "(a['vdata'], a['idata'])" "([], [])"

echo
echo "All answers were as expected."
