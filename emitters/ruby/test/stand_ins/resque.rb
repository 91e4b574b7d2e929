# frozen_string_literal: true

require "json"
require "socket"

# Resque's documented interface on an in-memory queue that lives in files, so that children see it: the gem is not packaged
# where the tests run. Only what the hooks touch, with the names and the order of calls of Resque 2 and 3.
module Resque
  VERSION = "stand-in"
  DirtyExit = Class.new(RuntimeError)

  class << self
    attr_accessor :directory

    def encode(item)
      JSON.generate(item)
    end

    def decode(text)
      JSON.parse(text)
    end

    def push(queue, item)
      data_store.push_to_queue(queue, encode(item))
    end

    def enqueue_to(queue, klass, *args)
      Job.create(queue, klass, *args)
    end

    def data_store
      @data_store ||= DataStore.new
    end
  end

  class DataStore
    def push_to_queue(queue, text)
      raise IOError, "no redis" if Resque.directory.nil?

      File.write(path(queue), "#{text}\n", mode: "a")
    end

    def everything_in_queue(queue)
      File.exist?(path(queue)) ? File.readlines(path(queue), chomp: true) : []
    end

    def remove_from_queue(queue, text)
      lines = everything_in_queue(queue)
      File.write(path(queue), (lines - [text]).map { |line| "#{line}\n" }.join)
      lines.count(text)
    end

    def pop(queue)
      first, *rest = everything_in_queue(queue)
      File.write(path(queue), rest.map { |line| "#{line}\n" }.join)
      first
    end

    private

    def path(queue)
      File.join(Resque.directory, "#{queue}.queue")
    end
  end

  class Job
    DontPerform = Class.new(StandardError)
    attr_accessor :worker
    attr_reader :queue, :payload

    def initialize(queue, payload)
      @queue = queue
      @payload = payload
    end

    def self.create(queue, klass, *args)
      Resque.push(queue, class: klass.to_s, args: args)
    end

    def self.destroy(queue, klass, *args)
      Resque.data_store.remove_from_queue(queue, Resque.encode(class: klass.to_s, args: args))
    end

    def perform
      Object.const_get(payload["class"]).perform(*payload["args"])
      true
    rescue DontPerform
      false
    end

    def fail(_exception)
      File.write(File.join(Resque.directory, "failed"), ".", mode: "a")
    end
  end

  class Worker
    def initialize(*queues)
      @queues = queues
    end

    attr_reader :queues

    def to_s
      @to_s ||= "#{Socket.gethostname}:#{Process.pid}:#{@queues.join(',')}"
    end

    def fork_per_job?
      ENV["FORK_PER_JOB"] != "false"
    end

    # Until the queues are empty.
    def work
      startup
      @queues.each do |queue|
        while !@shutdown && (text = Resque.data_store.pop(queue))
          work_one_job(Job.new(queue, Resque.decode(text)))
        end
      end
      unregister_worker
    end

    def startup; end
    def working_on(_job); end
    def done_working; end
    def unregister_worker(_exception = nil); end

    def shutdown
      @shutdown = true
    end

    private

    def work_one_job(job)
      working_on(job)
      job.worker = self
      fork_per_job? ? perform_with_fork(job) : perform(job)
      done_working
    end

    def perform_with_fork(job)
      pid = fork do
        perform(job)
        exit!
      end
      Process.wait(pid)
      job.fail(DirtyExit.new("Child process received unhandled signal #{$?.termsig}")) if $?.signaled?
    end

    def perform(job)
      job.perform
    rescue StandardError => e
      job.fail(e)
    end
  end
end
