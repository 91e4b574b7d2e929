# frozen_string_literal: true

require "json"
require "jobtide/backend"
require "jobtide/guard"
require "jobtide/moments"

# What enters SQS through Shoryuken, told after SQS took it: a client middleware, and `send_messages`, which has none.
#
# SQS does not say who will work on a message. Those that name their worker (perform_async does) are told here; of the others
# the wait is known when they start. Wrapped ActiveJobs are told by ActiveJob's hooks.
module Jobtide
  module Shoryuken
    class Sending
      BEFORE = Jobtide.site("shoryuken.before_send")
      AFTER = Jobtide.site("shoryuken.after_send")
      CLASS = "shoryuken_class"
      RUN_AT = "jobtide_run_at" # a message attribute of ours: when a delayed message is due, in ms
      MAX_ATTRIBUTES = 10 # SQS takes no more

      def call(options)
        due_us = Jobtide.guard(BEFORE) { Sending.before(options) }
        result = yield
        Jobtide.guard(AFTER) { Sending.after(options, result.message_id, due_us, options[:queue_url].to_s.split("/").last) }
        result
      end

      # Prepended to Shoryuken::Queue.
      module Batches
        def send_messages(options)
          due = nil
          result = super
          Jobtide.guard(AFTER) do
            entries = options.is_a?(Array) ? options.map.with_index { |entry, index| entry.is_a?(Hash) ? { id: index.to_s }.merge(entry) : {} } : options[:entries]
            sent = result.successful.to_h { |one| [one.id, one.message_id] }
            entries.each { |entry| Sending.after(entry, sent[entry[:id]], due, name) if sent.key?(entry[:id]) }
          end
          result
        end
      end

      class << self
        # Marks a delayed message; returns when it is due.
        def before(options)
          delay_s = options[:delay_seconds].to_i
          return if delay_s.zero? || !Jobtide.emitter.enabled

          due_us = Moments.now_us + (delay_s * 1_000_000)
          attributes = options[:message_attributes] || {}
          mark = { RUN_AT => { string_value: (due_us / 1000).to_s, data_type: "Number" } }
          options[:message_attributes] = attributes.merge(mark) if attributes.size < MAX_ATTRIBUTES
          due_us
        end

        def after(options, message_id, due_us, queue)
          return unless Jobtide.emitter.enabled && message_id

          named = (options[:message_attributes] || {})[CLASS]
          job_class = named && named[:string_value]
          return if job_class.nil? || wrapper?(job_class)

          parent = Backend.running_id
          job = Jobtide.emitter.job(SYSTEM, queue, job_class, message_id, 1, **(parent ? { parent_job_id: parent } : {}))
          due_us ||= Moments.now_us + (options[:delay_seconds] * 1_000_000) if options[:delay_seconds].to_i.positive?
          due_us ? Jobtide.emitter.job_scheduled(job, due_us) : Jobtide.emitter.job_enqueued(job)
        end

        def wrapper?(job_class)
          job_class.end_with?("JobWrapper") && Backend.tells?("active_job")
        end
      end
    end
  end
end
