# frozen_string_literal: true

require "socket"
require "jobtide/bounds"
require "jobtide/broadcasts"
require "jobtide/moments"
require "jobtide/ring"

# A worker process as the stream sees it: online, a heartbeat with what it holds every ten seconds, stopping, offline.
#
# The backend's hook says what the worker is and what it holds; the flusher's thread calls `beat`. A step that comes
# before the first contact with Kafka waits here, because only then the number of partitions is known.
module Jobtide
  class Worker
    STATM = "/proc/self/statm"
    PAGE_BYTES = 4096

    # Adds to every heartbeat: {"processed" => …, "failed" => …} of the backend.
    attr_accessor :counters

    def initialize(emitter, system, worker_id, queues, concurrency, version, tag, held)
      settings = emitter.settings
      @emitter = emitter
      @held = held
      @interval_s = settings.heartbeat_ms / 1000.0
      @facts = {
        "tenant" => settings.tenant, "environment" => settings.environment, "system" => Bounds.name(system, 32),
        "worker_id" => Bounds.name(worker_id), "hostname" => Bounds.name(Socket.gethostname), "pid" => ::Process.pid,
        "queues" => queues.first(64).map { |queue| Bounds.name(queue) }, "concurrency" => concurrency,
        "interval_ms" => settings.heartbeat_ms
      }
      @facts["version"] = Bounds.name(version, 128) unless version.to_s.empty?
      @facts["tag"] = Bounds.name(tag) unless tag.to_s.empty?
      @key = "#{settings.tenant}/#{@facts['system']}/w/#{@facts['worker_id']}"
      @cpu = [Moments.monotonic_s, cpu_s]
      @next_beat = 0.0
      @stopping = false
      @steps = Queue.new
      step("online", "idle")
    end

    def worker_id
      @facts["worker_id"]
    end

    # It also serves these queues, with more threads: heartbeats say so from now on.
    def serves(queues, concurrency)
      named = (@facts["queues"] + queues.map { |queue| Bounds.name(queue) }).uniq.first(64)
      @facts = @facts.merge("queues" => named, "concurrency" => @facts["concurrency"].to_i + concurrency)
    end

    # The worker takes no more jobs; said at once by the background thread.
    def stopping
      return if @stopping

      @stopping = true
      step("stopping", "stopping")
      @next_beat = 0.0
      @emitter.wake
    end

    # Says what is due at the monotonic time `now`; returns when to come again.
    def beat(now)
      return now + 1.0 unless @emitter.reach

      say_steps
      if now >= @next_beat
        @next_beat = now + @interval_s
        say("worker.heartbeat.v1", Rank::BEAT, usage(now), Moments.now_us)
      end
      @next_beat
    end

    # The worker is gone: said at once, in the thread that ends the process.
    def end
      step("offline", "offline")
      say_steps
    end

    private

    def step(kind, status)
      @steps << ["worker.#{kind}.v1", status, Moments.now_us]
    end

    def say_steps
      until @steps.empty?
        kind, status, at_us = @steps.pop(true)
        mark_deploy(at_us) if kind == "worker.online.v1"
        say(kind, Rank::FINAL, { "status" => status }, at_us)
      end
    end

    def say(kind, rank, more, at_us)
      held, complete = holding
      status = { "status" => @stopping ? "stopping" : held.empty? ? "idle" : "busy" }
      facts = @facts.merge(status, more)
      Broadcasts.worker(facts, held, complete, @emitter.partitions).each do |lane, data|
        @emitter.emit(kind, data, partitionkey: @key, lane: lane, subject: worker_id, at_us: at_us, rank: rank)
      end
    end

    # What the worker holds. Backends keep it in hashes that other threads change: a few tries, else incomplete.
    def holding
      5.times do
        return [@held ? @held.call : [], true]
      rescue RuntimeError # changed while iterating
        next
      end
      [[], false]
    end

    # Memory and processor time of this process (not of children), and the backend's own counters.
    def usage(now)
      wall, cpu = @cpu
      @cpu = [now, cpu_s]
      usage = counters ? counters.call : {}
      usage["cpu_percent"] = [((@cpu[1] - cpu) / (now - wall) * 100).round(1), 0.0].max if now > wall
      usage["rss_bytes"] = File.read(STATM).split[1].to_i * PAGE_BYTES if File.exist?(STATM)
      usage
    end

    def cpu_s
      ::Process.clock_gettime(::Process::CLOCK_PROCESS_CPUTIME_ID)
    end

    # The release this worker runs, to every partition. Through the gateway all workers of a release say it under one id,
    # so that it counts once.
    def mark_deploy(at_us)
      settings = @emitter.settings
      return if settings.release.empty?

      release = Bounds.name(settings.release)
      data = { "release" => release, "system" => @facts["system"] }
      (@emitter.partitions ? (0...@emitter.partitions) : [UNNUMBERED]).each do |lane|
        id = lane.negative? ? { id: "deploy-#{format('%08x', Zlib.crc32(settings.tenant + settings.environment + @facts['system']))}-#{format('%08x', Zlib.crc32(release))}" } : {}
        @emitter.emit("deploy.marked.v1", data, partitionkey: settings.tenant, subject: release, at_us: at_us, lane: lane, rank: Rank::FINAL, **id)
      end
    end
  end
end
