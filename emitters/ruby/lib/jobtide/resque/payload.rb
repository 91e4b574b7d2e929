# frozen_string_literal: true

require "jobtide/arguments"
require "jobtide/backend"
require "jobtide/moments"

# Reads the hash that Resque keeps in its queues. A wrapped ActiveJob goes by its own class and id.
module Jobtide
  module Resque
    module Payload
      SYSTEM = "resque"
      ID = "jobtide_id"
      AT = "jobtide_at"

      module_function

      # Its only attempt: what fails is for people (or ActiveJob) to put back.
      def job(payload, queue)
        args = payload["args"] || payload[:args]
        wrapped = Backend.active_job(args&.first)
        name, id, before = wrapped || [(payload["class"] || payload[:class]).to_s, payload[ID] || "unknown", 0]
        parent = Backend.running_id
        more = parent && parent != id ? { parent_job_id: parent } : {}
        preview = Arguments.current.preview(name, args)
        more[:args_preview] = preview if preview
        Jobtide.emitter.job(SYSTEM, queue.to_s, name, id, before + 1, **more)
      end

      def wrapped?(payload)
        !Backend.active_job((payload["args"] || payload[:args])&.first).nil?
      end

      def enqueued_at_us(payload)
        Moments.us(payload[AT])
      end
    end
  end
end
