# frozen_string_literal: true

require "jobtide/lanes"
require "jobtide/ring"

# Events that go to every Kafka partition: what a worker holds, what an emitter has sent.
#
# Pure. Each partition's readers see only their own lanes, so each gets its own event, in a lane of its own, with its
# slice. A receiver that places events itself (the gateway) gets one event, without a number, with everything.
module Jobtide
  # An attempt a worker holds now. `started_at` is the text of the started event's time.
  Held = Struct.new(:queue, :job_id, :attempt, :started_at)

  module Broadcasts
    MAX_RUNNING = 256

    module_function

    # [lane, data] for each partition, with the attempts that live there. More than 256 are not complete.
    def worker(facts, held, complete, partitions)
      return [[UNNUMBERED, facts.merge(running(held, complete))]] if partitions.nil?

      prefix = "#{facts['tenant']}/#{facts['system']}/"
      mine = held.group_by { |attempt| Lanes.partition(Lanes.of(prefix + attempt.job_id), partitions) }
      Array.new(partitions) { |partition| [partition, facts.merge(running(mine.fetch(partition, []), complete))] }
    end

    def running(held, complete)
      {
        "busy" => held.size,
        "running" => held.first(MAX_RUNNING).map { |attempt| attempt.to_h.compact },
        "complete" => complete && held.size <= MAX_RUNNING
      }
    end

    # [lane, members] for each partition with news since `announced`: the next number of each of its lanes, as it will be
    # once this event is sent. Marks in `announced` what it says.
    def stats(following, announced, partitions)
      return unnumbered_stats(following, announced) if partitions.nil?

      (0...partitions).filter_map do |partition|
        lanes = Lanes.on(partition, partitions)
        next if lanes.all? { |lane| following[lane] == announced[lane] }

        after = following.dup
        after[partition] += 1 # the event itself
        lanes.each { |lane| announced[lane] = after[lane] }
        [partition, { "next" => next_of(after, lanes) }]
      end
    end

    def unnumbered_stats(following, announced)
      return [] if following == announced

      announced.replace(following)
      [[UNNUMBERED, { "next" => next_of(following, 0...Lanes::COUNT) }]]
    end

    def next_of(following, lanes)
      lanes.each_with_object({}) { |lane, named| named[lane.to_s] = following[lane] if following[lane].positive? }
    end
  end
end
