-- wrk's side of a load: POST what the file BENCH_BODY holds, and end with one line that client.ts reads.
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("BENCH_KEY")

function done(summary, latency)
	local e = summary.errors
	local failed = e.connect + e.read + e.write + e.status + e.timeout
	io.write(string.format('{"calls":%d,"failed":%d,"seconds":%f,"p50":%f,"p99":%f,"p999":%f}\n',
		summary.requests - e.status, failed, summary.duration / 1e6,
		latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
