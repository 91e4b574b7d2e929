# frozen_string_literal: true

require "json"
require "jobtide/background"
require "jobtide/guard"
require "jobtide/ring"

module Jobtide
  class Outbox
    # Emits what an outbox holds. `run_once` by hand, or `start` for a thread that does it every `pause_s`. Several share the work,
    # where the database can skip locked rows (PostgreSQL, MySQL 8); SQLite has one writer.
    class Relay
      BATCH = 500
      FLUSH_MS = 10_000
      TURN = Jobtide.site("outbox.relay")

      def initialize(outbox, pause_s: 1.0)
        @rows = outbox.rows
        @pause_s = pause_s
        @lock = Mutex.new
        @signal = ConditionVariable.new
        @stopped = false
      end

      def start
        @thread = Background.start("jobtide-outbox") do
          until @stopped
            gone = Jobtide.guard(TURN) { Thread.handle_interrupt(Object => :immediate) { @rows.connection_pool.with_connection { run_once } } }
            @lock.synchronize { @signal.wait(@lock, @pause_s) unless @stopped || gone == BATCH }
          end
        end
        self
      end

      # Ends the thread after the batch it is at.
      def stop(timeout_s = 5.0)
        @lock.synchronize do
          @stopped = true
          @signal.signal
        end
        @thread&.join(timeout_s)
      end

      # Emits one batch; returns how many events are gone from the table. Waits for the receiver.
      def run_once
        return 0 unless Jobtide.emitter.enabled

        gone = 0
        @rows.transaction do
          batch = @rows.order(:id).limit(BATCH).lock("FOR UPDATE SKIP LOCKED").pluck(:id, :at_us, :kind, :partitionkey, :data)
          next if batch.empty?

          batch.each { |_, at_us, kind, key, data| emit(at_us, kind, key, data) }
          next unless Jobtide.flush(FLUSH_MS)

          gone = @rows.where(id: batch.map(&:first)).delete_all
        end
        gone
      end

      private

      def emit(at_us, kind, key, data)
        data = JSON.parse(data.to_s)
        rank = kind.start_with?("job.cancelled") ? Rank::FINAL : Rank::STEP
        Jobtide.emitter.emit(kind, data, partitionkey: key, subject: data["job_id"], at_us: at_us, rank: rank)
      end
    end
  end
end
