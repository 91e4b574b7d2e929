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

    # What to require: the backends that are loaded.
    def self.hooks
      found = []
      found << "jobtide/sidekiq" if defined?(::Sidekiq::Client)
      found << "jobtide/delayed_job" if defined?(::Delayed::Worker)
      found << "jobtide/resque" if defined?(::Resque::Worker)
      found << "jobtide/active_job" if defined?(::ActiveJob)
      found
    end

    # A hook that cannot be installed is a line in the log, never an app that does not start.
    def self.install(hook)
      require hook
    rescue StandardError, ScriptError => e
      Jobtide.log.error("jobtide: #{hook} is not installed: #{e.class}: #{e.message}")
    end
  end
end
