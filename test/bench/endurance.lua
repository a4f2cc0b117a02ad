-- wrk's side of a long load: half of the prompts are new, half are one of a hundred; see endurance.ts.
local first = tonumber(os.getenv("BENCH_FIRST"))
local text = string.rep("word ", 150)
local headers = { ["content-type"] = "application/json", ["authorization"] = "Bearer " .. os.getenv("BENCH_KEY") }
local at = 0

function request()
	at = at + 1
	local topic = at % 2 == 0 and ("new " .. (first + at)) or ("known " .. (at % 200))
	local body = '{"model":"openai/bench","temperature":0,"messages":[{"role":"user","content":"' .. topic .. " " .. text .. '"}]}'
	return wrk.format("POST", nil, headers, body)
end

function done(summary, latency)
	local e = summary.errors
	local failed = e.connect + e.read + e.write + e.status + e.timeout
	io.write(string.format('{"calls":%d,"failed":%d,"seconds":%f,"p50":%f,"p99":%f,"p999":%f}\n',
		summary.requests - e.status, failed, summary.duration / 1e6,
		latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
