# frozen_string_literal: true

begin
  require "resque"
rescue LoadError
  $LOAD_PATH << File.expand_path("../stand_ins", __dir__)
end
require "jobtide/resque"

module Players
  # Resque's hooks. Worker and job are what Resque hands over, without its queue.
  class Resque
    include Jobtide::Resque
    Handed = Struct.new(:queue, :payload, :worker)

    def push(native)
      marked = Queueing.mark(native["item"])
      Jobtide.emitter.job_enqueued(Payload.job(marked, native["queue"]), at_us: Payload.enqueued_at_us(marked))
      { "item" => marked }
    end

    def perform(native)
      @state = Working.started(Handed.new(native["queue"], native["payload"], "web-1:4242:#{native['queue']}"))
    end

    def returned(native)
      Working.finished(@state, native["result"])
      Working.left
    end

    def raised(native)
      Working.raised(@state, MappingTest.exception(native["exception"]))
      Working.left
    end
  end
end
