# frozen_string_literal: true

# Runs JOBS jobs, each in a fork that ends by exit!: ruby ends.rb JOBS. Such a process calls `flush`: nothing of Ruby's own runs any more.
require "jobtide"

emitter = Jobtide.emitter
Integer(ARGV.fetch(0)).times do |number|
  pid = fork do
    emitter.job_started(emitter.job("cron", "q", "ruby", number.to_s), "w1").finished
    exit!(emitter.flush ? 0 : 1)
  end
  Process.wait(pid)
  raise "fork #{number} failed" unless $?.success? # rubocop:disable Style/SpecialGlobalVars
end
