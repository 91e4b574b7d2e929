# frozen_string_literal: true

require "jobtide/delayed_job/row"
require "jobtide/election"
require "jobtide/guard"
require "jobtide/moments"
require "jobtide/snapshots"

# How full DelayedJob's queues are: its table, counted by one worker of each host. Only with the ActiveRecord backend.
module Jobtide
  module DelayedJob
    module Fullness
      SITE = Jobtide.site("delayed_job.snapshot")

      module_function

      def snapshots
        backend = ::Delayed::Worker.backend
        return unless backend.respond_to?(:connection_pool) && backend.connection_pool.respond_to?(:db_config) # ActiveRecord 6.1

        subject = "delayed_job/#{backend.connection_pool.db_config.configuration_hash.values_at(:adapter, :host, :database)}"
        Snapshots.new(Row::SYSTEM, SITE, -> { Election.won?(subject) }, -> { backend.connection_pool.with_connection { facts(backend, Time.now) } })
      end

      # One hash for each queue that holds rows.
      def facts(rows, now)
        alive = rows.where(failed_at: nil)
        ready = alive.where(locked_at: nil).where("run_at <= ?", now)
        later = alive.where("run_at > ?", now)
        counts = {
          "ready" => ready, "running" => alive.where.not(locked_at: nil), "scheduled" => later.where(attempts: 0),
          "retry" => later.where("attempts > 0"), "dead" => rows.where.not(failed_at: nil)
        }.transform_values { |some| named(some.group(:queue).count) { |one, other| one + other } }
        oldest = named(ready.group(:queue).minimum(:run_at)) { |one, other| [one, other].min }
        counts.values.flat_map(&:keys).uniq.map do |queue|
          facts = counts.transform_values { |per| per.fetch(queue, 0) }.merge("queue" => queue)
          facts["oldest_ready_at"] = Moments.text(Moments.us(oldest[queue])) if oldest[queue]
          facts
        end
      end

      # Rows without a queue are in "default" (see Row).
      def named(per_queue, &merge)
        per_queue.each_with_object({}) { |(queue, value), named| named.merge!((queue || "default") => value) { |_, one, other| merge.call(one, other) } }
      end
    end
  end
end
