-- wrk's side of a load: POST the body of BENCH_BODY, and end with one line that client.ts reads.
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("BENCH_KEY")

function done(summary, latency)
	local e = summary.errors
	local failed = e.connect + e.read + e.write + e.status + e.timeout
	io.write(string.format('{"calls":%d,"failed":%d,"p50":%f,"p99":%f}\n',
		summary.requests, failed, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
