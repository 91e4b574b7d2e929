# frozen_string_literal: true

# Jobs whose arguments, errors and source lines hold secrets, on Sidekiq: sidekiq -r ./secrets_sidekiq.rb, or ruby secrets_sidekiq.rb push
# to push one of each. The texts come in PLANTED, as JSON; the name of the job class in CANARY.
require "json"
require "sidekiq"
require "sidekiq/job_retry"
require "jobtide/sidekiq"

redis = { url: ENV.fetch("JOBTIDE_EXAMPLE_REDIS") }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.configure_server do |config|
  config.redis = redis
  (config.respond_to?(:capsules) ? config : Sidekiq.options)[:poll_interval_average] = 0.3
end
class Sidekiq::JobRetry
  def rand(*) = 0
end
PLANTED_TEXTS = JSON.parse(ENV.fetch("PLANTED"))

# Fails with what was planted; the cause and a source line hold secrets too.
class Secretive
  include Sidekiq::Worker
  sidekiq_options queue: "secrets", retry: 1
  sidekiq_retry_in { |*| 1 }

  def perform(number, text, account)
    begin
      raise ArgumentError, "cannot log in with #{account.inspect}" if number.odd?
      token = "hunter2-Zq83kd0Lw7"; raise ArgumentError, "cannot log in with 'hunter2-Zq83kd0Lw7' or #{token.inspect}" # rubocop:disable Style/Semicolon
    rescue ArgumentError
      raise IOError, text
    end
  end
end
Object.const_set(ENV.fetch("CANARY"), Class.new(Secretive))

if ARGV[0] == "push"
  klass = Object.const_get(ENV.fetch("CANARY"))
  klass.sidekiq_options queue: "secrets", retry: 1
  PLANTED_TEXTS.each_with_index { |text, number| klass.perform_async(number, text, { "password" => text }) }
  Jobtide.close
end
