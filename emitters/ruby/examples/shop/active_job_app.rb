# frozen_string_literal: true

# The same shop through ActiveJob, on Sidekiq or DelayedJob, with the hooks of both layers.
#   Sidekiq:    sidekiq -r ./active_job_app.rb -q default;  ruby active_job_app.rb sidekiq drive 50
#   DelayedJob: ruby active_job_app.rb DATABASE work;       ruby active_job_app.rb DATABASE drive 50
require_relative "oracle"
require "active_job"

ON_SIDEKIQ = defined?(Sidekiq::CLI) || ARGV[0] == "sidekiq"
if ON_SIDEKIQ
  require_relative "sidekiq_app"
  ActiveJob::Base.queue_adapter = :sidekiq
  ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper.sidekiq_retry_in { |_count, *| 1 }
else
  require_relative "delayed_app"
  ActiveJob::Base.queue_adapter = :delayed_job
  Delayed::Worker.max_attempts = 2
  Delayed::Job.class_eval { define_method(:reschedule_at) { self.class.db_time_now } }
end
require "jobtide/active_job"
ActiveJob::Base.logger = Logger.new(IO::NULL)

module Shop
  SoldOut = Class.new(StandardError)

  class Errand < ActiveJob::Base
    include Sidekiq::Worker::Options if ON_SIDEKIQ # as Sidekiq's railtie does

    def perform(key, failures)
      attempt = Oracle.attempts(key) + 1
      Oracle.run(self.class.name, key, attempt) { raise SoldOut, "no #{key} left" if attempt <= failures }
    end
  end

  # ActiveJob tries three times, then it is the backend's.
  class Receipt < Errand
    retry_on SoldOut, wait: 1, attempts: 3
    sidekiq_options retry: false if ON_SIDEKIQ
  end

  # Is thrown away when it fails.
  class Coupon < Errand
    discard_on SoldOut
    sidekiq_options retry: 1 if ON_SIDEKIQ
  end

  # Only the backend tries again: twice in all.
  class Report < Errand
    sidekiq_options retry: 1 if ON_SIDEKIQ
  end
end

case ARGV[1]
when "work" then Shop.work
when "drive"
  Integer(ARGV.fetch(2)).times do |number|
    kind = [Shop::Receipt, Shop::Coupon, Shop::Report][number % 3]
    key = "#{kind.name.downcase}-#{number}"
    before = Process.clock_gettime(Process::CLOCK_REALTIME)
    kind.perform_later(key, [0, 0, 1, 9][number % 4])
    Shop::Oracle.write("enqueued", key, class: kind.name, delay_s: nil, before: before)
  end
end
