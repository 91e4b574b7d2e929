# frozen_string_literal: true

# Tells of JOBS jobs, one a millisecond; then waits for a line on its input, and ends in order: ruby emit.rb JOBS
require "jobtide"

emitter = Jobtide.emitter
Integer(ARGV.fetch(0)).times do |number|
  job = emitter.job("cron", "q", "ruby", number.to_s)
  emitter.job_enqueued(job)
  emitter.job_started(job, "w1").finished
  sleep(0.001)
end
puts "told"
$stdout.flush
$stdin.gets
Jobtide.close(30_000)
