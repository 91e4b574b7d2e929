# frozen_string_literal: true

require "json"
require "jobtide/bounds"

# The arguments of a job as `args_preview`: nothing by default; for classes on the allow-list, masked before anything is
# written down.
module Jobtide
  class Arguments
    MAX_CHARS = 2048
    MASK = "***"

    # By the settings that the emitter has now.
    def self.current
      settings = Jobtide.emitter.settings
      return @current if @settings.equal?(settings)

      @current = new(settings)
      @settings = settings
      @current
    end

    def initialize(settings)
      @none = settings.args.empty?
      @all = settings.args == "*"
      @classes = settings.args.split(",").map(&:strip).to_h { |name| [name, true] }
      @masked = Regexp.union(settings.args_mask.split(",").map(&:strip).reject(&:empty?).map { |part| /#{Regexp.escape(part)}/i })
    end

    # nil unless this class may show its arguments.
    def preview(job_class, args)
      return if @none || !(@all || @classes.key?(job_class))

      Bounds.utf8(JSON.generate(shown(args, 0)))[0, MAX_CHARS]
    end

    private

    def shown(value, depth)
      case value
      when Hash then value.to_h { |key, member| [Bounds.printed(key), @masked.match?(Bounds.printed(key)) ? MASK : shown(member, depth + 1)] }
      when Array then depth > 5 ? "…" : value.first(50).map { |member| shown(member, depth + 1) }
      when String then Bounds.utf8(value)[0, 256]
      when Integer, true, false, nil then value
      when Float then value.finite? ? value : nil
      else value.class.name.to_s
      end
    end
  end
end
