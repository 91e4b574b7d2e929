# frozen_string_literal: true

require "sidekiq"
require "sidekiq/api"
require "sidekiq/processor"
require "sidekiq/fetch"
require "jobtide/sidekiq"

# Sidekiq's own client, processor and retry code in this process, on a Redis that only remembers: for what needs no server.
# Real workers on a real server are in tests/e2e.
module SidekiqHarness
  # The commands that Sidekiq sends while it pushes, retries and kills.
  class RememberingRedis
    attr_reader :sets, :queues
    attr_accessor :refuse

    def initialize
      @sets = Hash.new { |sets, key| sets[key] = [] }
      @queues = Hash.new { |queues, key| queues[key] = [] }
    end

    def with
      yield self
    end

    def pipelined
      raise Redis::CannotConnectError, "refused" if refuse

      yield self
    end
    alias multi pipelined

    def zadd(key, *rest)
      rest = rest[0] if rest[0].is_a?(Array)
      rest[0].is_a?(Array) ? @sets[key].concat(rest) : @sets[key] << rest
    end

    def lpush(key, payloads)
      @queues[key].concat(Array(payloads))
    end

    def zcard(key)
      @sets[key].size
    end

    def lrem(key, _count, value)
      @queues[key].delete(value) ? 1 : 0
    end

    def zrem(key, value)
      !@sets[key].reject! { |_, member| member == value }.nil?
    end

    def sadd(*); end
    def zremrangebyscore(*); end
    def zremrangebyrank(*); end
  end

  class Work
    include Sidekiq::Worker
    sidekiq_options retry: 1

    def perform(what = "ok")
      SidekiqHarness.performed << what
      raise ArgumentError, "told to" if what == "fail"
      raise Sidekiq::Shutdown if what == "shutdown"

      Work.perform_async("child") if what == "parent"
    end
  end

  class NoRetry < Work
    sidekiq_options retry: false
  end

  class << self
    attr_reader :performed, :redis

    def reset
      @performed = []
      Thread.current[:jobtide_sidekiq] = nil # what an earlier test ran in this thread
      @redis = redis = RememberingRedis.new
      Sidekiq.singleton_class.send(:remove_method, :redis, :redis_pool) if @replaced # else a warning for each test
      @replaced = true
      Sidekiq.define_singleton_method(:redis) { |&block| block.call(redis) }
      Sidekiq.define_singleton_method(:redis_pool) { redis }
      Sidekiq.logger.level = Logger::FATAL
      Jobtide::Sidekiq.install(Sidekiq)
      Jobtide::Sidekiq::Running.worker_id = "web-1:4242:abc"
    end

    # Lets Sidekiq's processor run a job hash; what Sidekiq raises for its own use is swallowed.
    def process(payload)
      queue = "queue:#{payload['queue']}"
      processor = Sidekiq::Processor.new(nil, { fetch: nil })
      processor.send(:process, Sidekiq::BasicFetch::UnitOfWork.new(queue, JSON.generate(payload)))
    rescue StandardError => e
      raise if e.is_a?(NoMethodError) # not what a job raised: the harness lacks something
    end

    # The next job that was pushed, taken from its queue.
    def take(queue = "default")
      JSON.parse(@redis.queues["queue:#{queue}"].shift)
    end
  end
end
