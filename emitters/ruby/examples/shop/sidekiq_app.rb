# frozen_string_literal: true

# A small shop on Sidekiq. Worker: sidekiq -r ./sidekiq_app.rb -q default -q mail. Jobs: ruby sidekiq_drive.rb 100
require_relative "oracle"
require "sidekiq"
require "jobtide/sidekiq"

Redis.silence_deprecations = true if defined?(Redis) && Redis.respond_to?(:silence_deprecations=) # Sidekiq's own, with redis 4.8

redis = { url: ENV.fetch("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0") }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.configure_server { |config| config.redis = redis }

module Shop
  class OutOfStock < StandardError; end

  # Which attempt this is, counted by the jobs: Sidekiq does not say.
  module Attempts
    module_function

    def next(jid)
      Sidekiq.redis { |connection| connection.call("INCR", "shop:attempts:#{jid}") }
    end
  end

  module Job
    def perform(key, failures = 0)
      attempt = Attempts.next(jid)
      Oracle.run(self.class.name, key, attempt) do
        sleep(0.002)
        raise OutOfStock, "no #{key} left" if attempt <= failures
      end
    end
  end

  # Mostly succeeds; `failures` says how often it fails first.
  class Invoice
    include Sidekiq::Worker
    include Job
    sidekiq_options queue: "default", retry: 2
    sidekiq_retry_in { |_count, *| 1 }
  end

  # Fails for good after its first failure.
  class Mail
    include Sidekiq::Worker
    include Job
    sidekiq_options queue: "mail", retry: false
  end
end
