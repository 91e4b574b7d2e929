# frozen_string_literal: true

require "jobtide/lanes"

# Numbered events to what goes out: the whole text of an event, and Kafka values (the events of one partition as one JSON
# array, at most 256 KiB).
#
# Pure. The text of an event is completed here, in the background thread, off the hot path.
module Jobtide
  module Packs
    MAX_BYTES = 256 * 1024
    SINGLE = "application/cloudevents+json"
    BATCH = "application/cloudevents-batch+json"
    OWN_ID = "\",\"id\":\"deploy-" # cannot be text: text escapes its quotes

    # An event on its way out: its text is all that a transport needs, its partition key's lane says where it goes.
    Text = Struct.new(:lane, :json)
    # One Kafka value and what is in it.
    Pack = Struct.new(:partition, :value, :texts) do
      def content_type
        texts.size == 1 ? SINGLE : BATCH
      end
    end

    module_function

    # The whole event. The number makes the id unique, unless the event came with an id of its own (a deploy mark).
    def text(record, epoch)
      if record.lane.negative?
        number = record.raw.include?(OWN_ID) ? "" : ",\"id\":\"#{epoch}-u-#{record.seq}\""
        return Text.new(UNNUMBERED, "#{record.raw.chop}#{number}}")
      end

      lane = record.lane
      seq = record.seq
      Text.new(lane, "#{record.raw.chop},\"id\":\"#{epoch}-#{lane}-#{seq}\",\"epoch\":\"#{epoch}\",\"lane\":#{lane},\"seq\":#{seq}}")
    end

    # Packs in the order of their first event; the events of a partition keep their order.
    def of(texts, partitions)
      packs = []
      open = {}
      texts.each do |text|
        partition = Lanes.partition([text.lane, 0].max, partitions)
        members, size = open[partition] || [[], 2]
        if !members.empty? && size + text.json.bytesize + 1 > MAX_BYTES
          packs << pack(partition, members)
          members = []
          size = 2
        end
        members << text
        open[partition] = [members, size + text.json.bytesize + 1]
      end
      packs.concat(open.map { |partition, (members, _)| pack(partition, members) })
    end

    def pack(partition, members)
      value = members.size == 1 ? members[0].json : "[#{members.map(&:json).join(',')}]"
      Pack.new(partition, value, members)
    end
  end
end
