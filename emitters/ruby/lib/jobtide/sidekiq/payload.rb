# frozen_string_literal: true

require "jobtide/arguments"
require "jobtide/backend"
require "jobtide/moments"

# Reads Sidekiq's job hash: which attempt of which job it is.
#
# Pure. A wrapped ActiveJob goes by its own class and id, so that all its tries are one job, whichever layer tries again.
module Jobtide
  module Sidekiq
    module Payload
      SYSTEM = "sidekiq"
      RUN_AT = "jobtide_run_at" # what we add to the hash: when it was to run, and whose child it is
      PARENT = "jobtide_parent"

      module_function

      # The attempt that a payload in a queue, or on its way there, is.
      def job(payload, queue = payload["queue"])
        wrapped = payload["wrapped"] && Backend.active_job(payload["args"]&.first)
        name, id, before = wrapped || [(payload["wrapped"] || payload["class"]).to_s, payload["jid"], 0]
        facts = more(payload, name)
        number = before + attempt(payload)
        facts.empty? ? Jobtide.emitter.job(SYSTEM, queue, name, id, number) : Jobtide.emitter.job(SYSTEM, queue, name, id, number, **facts)
      end

      # 1 for the first; `retry_count` is 0 when the first retry waits.
      def attempt(payload)
        count = payload["retry_count"]
        count.is_a?(Integer) ? count + 2 : 1
      end

      def more(payload, name)
        facts = {}
        facts[:max_attempts] = payload["retry"] + 1 if payload["retry"].is_a?(Integer)
        facts[:batch_id] = payload["bid"] if payload["bid"]
        facts[:traceparent] = payload["traceparent"] if payload["traceparent"] # OpenTelemetry's propagation
        facts[:parent_job_id] = payload[PARENT] if payload[PARENT]
        facts[:labels] = { "tags" => Bounds.name(payload["tags"].join(",")) } if payload["tags"].is_a?(Array) && payload["tags"].any?
        preview = Arguments.current.preview(name, payload["args"])
        facts[:args_preview] = preview if preview
        facts
      end

      def enqueued_at_us(payload)
        Moments.us(payload["enqueued_at"])
      end

      def run_at_us(payload)
        Moments.us(payload[RUN_AT])
      end
    end
  end
end
