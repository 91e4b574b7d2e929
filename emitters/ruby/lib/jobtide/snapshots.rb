# frozen_string_literal: true

require "jobtide/background"
require "jobtide/bounds"
require "jobtide/guard"

# How full a backend's queues are, every ten seconds, from the one process that is elected; and when a queue was paused or
# resumed between two looks.
#
# Who is elected and what the queues hold the backend says, by two callables. Own thread, because both may wait.
module Jobtide
  class Snapshots
    # `facts` returns a hash for each queue: "queue", "ready" and whatever else the contract has.
    def initialize(system, site, elected, facts)
      @system = system
      @site = site
      @elected = elected
      @facts = facts
      @paused = {}
      @stopped = false
      @lock = Mutex.new
      @signal = ConditionVariable.new
    end

    def start
      interval_s = Jobtide.emitter.settings.snapshot_ms / 1000.0
      @thread = Background.start("jobtide-snapshots") do
        loop do
          turn
          break if @lock.synchronize { @stopped || @signal.wait(@lock, interval_s) && @stopped }
        end
      end
      self
    end

    # After the look it may be at: a thread that is killed in the midst of the app's code would leave its locks behind.
    def stop
      @lock.synchronize do
        @stopped = true
        @signal.signal
      end
      @thread
    end

    # One look, if this process is the one that looks.
    def turn
      Jobtide.guard(@site) do
        Thread.handle_interrupt(Object => :immediate) do
          next @paused.clear unless Jobtide.emitter.enabled && @elected.call

          @facts.call.each { |facts| tell(facts) }
        end
      end
    end

    private

    def tell(facts)
      queue = Bounds.name(facts["queue"])
      common = { "system" => @system, "queue" => queue }
      emit("queue.snapshot.v1", queue, facts.merge(common))
      return unless facts.key?("paused")

      before = @paused[queue]
      @paused[queue] = facts["paused"]
      emit(facts["paused"] ? "queue.paused.v1" : "queue.resumed.v1", queue, common) unless before.nil? || before == facts["paused"]
    end

    def emit(kind, queue, data)
      emitter = Jobtide.emitter
      emitter.emit(kind, data, subject: queue, partitionkey: "#{emitter.settings.tenant}/#{@system}/q/#{queue}")
    end
  end
end
