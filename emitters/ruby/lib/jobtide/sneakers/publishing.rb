# frozen_string_literal: true

require "securerandom"
require "jobtide/backend"
require "jobtide/guard"
require "jobtide/moments"

# What is published through Sneakers::Publisher (Worker.enqueue does), told after the exchange took it.
#
# Told are messages for a queue that a worker class of this process names; of the others the wait is known when they start.
module Jobtide
  module Sneakers
    module Publishing
      BEFORE = Jobtide.site("sneakers.before_publish")
      AFTER = Jobtide.site("sneakers.after_publish")
      AT = "jobtide_at" # a header of ours: when it was published, in µs

      # Prepended to Sneakers::Publisher.
      def publish(msg, options = {})
        job = Jobtide.guard(BEFORE) { Publishing.before(msg, options) }
        result = super
        Jobtide.guard(AFTER) { Jobtide.emitter.job_enqueued(job) } if job
        result
      end

      # Marks the message, in the options that the app's call made; returns the job that it is, if that can be known.
      def self.before(msg, options)
        return unless Jobtide.emitter.enabled

        queue = options[:to_queue] || options[:routing_key]
        options[:message_id] ||= SecureRandom.hex(12)
        options[:headers] = (options[:headers] || {}).merge(AT => Moments.now_us)
        return if Running.active_job(msg) && Backend.tells?("active_job")

        worker = ::Sneakers::Worker::Classes.find { |each| each.queue_name == queue.to_s }
        parent = Backend.running_id
        Jobtide.emitter.job(SYSTEM, queue, worker.name, options[:message_id], 1, **(parent ? { parent_job_id: parent } : {})) if worker
      end
    end
  end
end
