# frozen_string_literal: true

JobtideTest.backend("sneakers")
require "jobtide/sneakers"

module Players
  # The publisher and the middleware of Sneakers and Kicks.
  class Sneakers
    include Jobtide::Sneakers
    Named = Struct.new(:name)

    def publish(native)
      kind = named(native["worker"]).tap { |made| made.define_singleton_method(:queue_name) { native["options"]["to_queue"] } }
      options = native["options"].transform_keys(&:to_sym)
      ::Sneakers::Worker::Classes.unshift(kind)
      job = Publishing.before(native["message"], options)
      Jobtide.emitter.job_enqueued(job) if job
      { "options" => options.transform_keys(&:to_s) }
    ensure
      ::Sneakers::Worker::Classes.delete(kind)
    end

    def call(native)
      opts = native.fetch("worker_options", {}).transform_keys(&:to_sym)
      worker = named(native["worker"]).new
      worker.define_singleton_method(:queue) { Named.new(native["queue"]) }
      worker.define_singleton_method(:opts) { opts }
      Thread.current[:jobtide_sneakers] = worker
      metadata = { message_id: native["metadata"]["message_id"], headers: native["metadata"]["headers"] }
      Jobtide::Backend.stub(:process_id, "web-1:4242") { @state = Running.started(native["message"], metadata, named(native["handler"]).new) }
    end

    def returned(native)
      Running.returned(@state, native["result"].to_sym)
      Running.left(@state)
    end

    def raised(native)
      Running.raised(@state, MappingTest.exception(native["exception"]))
      Running.left(@state)
    end

    private

    def named(name)
      Class.new { define_singleton_method(:name) { name } }
    end
  end
end
