# frozen_string_literal: true

require "rails/railtie"

# Rails: the hooks of what the app has, installed after its initializers. The environment is Rails', unless
# JOBTIDE_EMITTER_ENVIRONMENT says otherwise.
module Jobtide
  class Railtie < ::Rails::Railtie
    config.after_initialize do
      ENV["JOBTIDE_EMITTER_ENVIRONMENT"] ||= ::Rails.env.to_s
      Jobtide.log = ::Rails.logger if ::Rails.logger
      Jobtide::Railtie.hooks.each { |hook| Jobtide::Railtie.install(hook) }
    end

    # Each backend's hook, and how to see that the app has it.
    HOOKS = {
      "jobtide/sidekiq" => -> { defined?(::Sidekiq::Client) }, "jobtide/delayed_job" => -> { defined?(::Delayed::Worker) },
      "jobtide/resque" => -> { defined?(::Resque::Worker) }, "jobtide/shoryuken" => -> { defined?(::Shoryuken::Queue) },
      "jobtide/sneakers" => -> { defined?(::Sneakers::Worker) }, "jobtide/karafka" => -> { defined?(::Karafka::App) },
      "jobtide/active_job" => -> { defined?(::ActiveJob) }, "jobtide/good_job" => -> { defined?(::GoodJob::Scheduler) },
      "jobtide/solid_queue" => -> { defined?(::SolidQueue) }
    }.freeze

    # What to require: the backends that are loaded.
    def self.hooks
      HOOKS.select { |_, there| there.call }.keys
    end

    # A hook that cannot be installed is a line in the log, never an app that does not start.
    def self.install(hook)
      require hook
    rescue StandardError, ScriptError => e
      Jobtide.log.error("jobtide: #{hook} is not installed: #{e.class}: #{e.message}")
    end
  end
end
