-- For wrk: one request over and over, and what came of it as a line of JSON. BENCH_BODY names the file of its body.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN")
wrk.body = io.open(os.getenv("BENCH_BODY")):read("a")

done = function(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"answers": %d, "seconds": %f, "refused": %d, "broken": %d, "p50_ms": %f, "p99_ms": %f}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
