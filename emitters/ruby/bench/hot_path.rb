# frozen_string_literal: true

# What one event costs the code that emits it: ruby -Ilib bench/hot_path.rb [--write]
#
# Measured per event, one by one, while the background thread packs and delivers to a transport that throws away: the
# lines say the median and the 99th percentile of building, numbering and buffering, and of serialising the same event
# alone (JSON.generate). Hooks are measured through the backend's own dispatch. `--write` keeps the table in latest.json.
require "json"
require "etc"
require "jobtide"
require "jobtide/packs"

EVENTS = 30_000
GOAL_US = 15.0

# Packs as Kafka would need it, and throws the packs away.
class Discard
  def partitions = 8
  def connect; end
  def close; end

  def deliver(texts)
    Jobtide::Packs.of(texts, 8)
    []
  end
end

def clock
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

# Microseconds per event of the block, which makes `per_call` events.
def measure(per_call = 1, calls = EVENTS)
  1000.times { |number| yield number }
  GC.start
  samples = Array.new(calls) do |number|
    began = clock
    yield number
    clock - began
  end
  samples.sort!
  [0.5, 0.99].map { |share| (samples[(share * calls).ceil - 1] / 1000.0 / per_call).round(2) }
end

emitter = Jobtide.configure(transport: -> { Discard.new }, tenant: "acme", environment: "production", queue_events: 1_000_000, queue_bytes: 1 << 30)
ids = Array.new(EVENTS + 1000) { |number| format("%024x", number) }
jobs = ids.map { |id| emitter.job("sidekiq", "default", "Shop::SendInvoice", id) }
runs = jobs.map { |job| emitter.job_started(job, "web-1:4242:abcdef012345") }
event = nil
Jobtide::Transports.for(Jobtide::Settings.new(url: "http://127.0.0.1:1/")) # loaded, so that it is not measured
finished = {
  "type" => "job.finished.v1", "specversion" => "1.0", "source" => "/web-1/4242", "subject" => ids[0], "time" => "2026-11-22T10:00:03.000125Z",
  "partitionkey" => "acme/sidekiq/#{ids[0]}", "data" => {
    "tenant" => "acme", "environment" => "production", "system" => "sidekiq", "queue" => "default", "job_class" => "Shop::SendInvoice", "job_id" => ids[0],
    "attempt" => 1, "worker_id" => "web-1:4242:abcdef012345", "started_at" => "2026-11-22T10:00:01.250000Z", "duration_ms" => 1750.125
  }
}

table = {}
table["serialising alone"] = measure { event = JSON.generate(finished) }
table["enqueued, job named"] = measure { |number| emitter.job_enqueued(emitter.job("sidekiq", "default", "Shop::SendInvoice", ids[number])) }
table["enqueued"] = measure { |number| emitter.job_enqueued(jobs[number]) }
table["started"] = measure { |number| emitter.job_started(jobs[number], "web-1:4242:abcdef012345", enqueued_at_us: 1_795_341_600_000_000) }
table["finished"] = measure { |number| runs[number].finished }

begin
  require "sidekiq"
  require "sidekiq/job_retry"
  require "jobtide/sidekiq"
  Jobtide::Sidekiq::Running.worker_id = "web-1:4242:abcdef012345"
  middleware = Jobtide::Sidekiq::Running.new
  payloads = ids.map { |id| { "class" => "Shop::SendInvoice", "jid" => id, "queue" => "default", "args" => [1], "retry" => true, "enqueued_at" => 1_795_341_600.5 } }
  table["Sidekiq middleware (two events)"] = measure(2) { |number| middleware.call(nil, payloads[number], "default") { nil } }
rescue LoadError
  warn "Sidekiq is not installed: its middleware is not measured"
end

alone = table["serialising alone"][0]
puts format("%-34s %8s %8s %8s", "µs per event", "p50", "p99", "÷ alone")
table.each { |name, (p50, p99)| puts format("%-34s %8.2f %8.2f %8.2f", name, p50, p99, p50 / alone) }
worst = table.reject { |name, _| name == "serialising alone" }.values.map(&:first).max
puts "worst median #{worst} µs, goal #{GOAL_US} µs; #{format('%.2f', worst / alone)} × serialising alone, goal 3"
if ARGV.include?("--write")
  facts = { ruby: RUBY_VERSION, cores: Etc.nprocessors, events: EVENTS, unit: "us per event", table: table.transform_values { |p50, p99| { p50: p50, p99: p99 } } }
  File.write(File.expand_path("latest.json", __dir__), "#{JSON.pretty_generate(facts)}\n")
end
exit(worst <= GOAL_US && worst <= alone * 3)
