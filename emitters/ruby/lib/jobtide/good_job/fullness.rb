# frozen_string_literal: true

require "jobtide/election"
require "jobtide/guard"
require "jobtide/moments"
require "jobtide/snapshots"

# How full GoodJob's queues are: its table, counted by one process of each host that runs its jobs.
module Jobtide
  module GoodJob
    module Fullness
      SITE = Jobtide.site("good_job.snapshot")

      module_function

      def snapshots
        rows = ::GoodJob::Job
        Snapshots.new(SYSTEM, SITE, -> { Election.won?("good_job/#{rows.table_name}") }, -> { rows.connection_pool.with_connection { facts(rows, Time.now) } })
      end

      # One hash for each queue that holds jobs.
      def facts(rows, now)
        open = rows.where(finished_at: nil)
        waiting = open.where(performed_at: nil)
        ready = waiting.where(scheduled_at: nil).or(waiting.where("scheduled_at <= ?", now))
        later = open.where("scheduled_at > ?", now)
        counts = {
          "ready" => ready, "running" => open.where.not(performed_at: nil).where("scheduled_at IS NULL OR scheduled_at <= ?", now),
          "scheduled" => later.where(error: nil), "retry" => later.where.not(error: nil), "dead" => rows.where.not(finished_at: nil).where.not(error: nil)
        }.transform_values { |some| some.group(:queue_name).count }
        oldest = ready.group(:queue_name).minimum("COALESCE(scheduled_at, created_at)")
        counts.values.flat_map(&:keys).uniq.map { |queue| of(queue, counts, oldest[queue]) }
      end

      def of(queue, counts, oldest)
        facts = counts.transform_values { |per| per.fetch(queue, 0) }.merge("queue" => queue || "default")
        oldest = Time.iso8601("#{oldest.sub(' ', 'T')}Z") if oldest.is_a?(String) # SQLite says an expression's time as text
        facts["oldest_ready_at"] = Moments.text(Moments.us(oldest)) if oldest
        facts
      end
    end
  end
end
