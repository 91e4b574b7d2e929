# frozen_string_literal: true

# The example shop's jobs on Sidekiq, pushed at a steady pace until a file is there: ruby shop.rb SEED PER_SECOND FILE
require File.expand_path("../../../emitters/ruby/examples/shop/sidekiq_app", __dir__)

seed, per_second, over = ARGV
random = Random.new(Integer(seed))
now = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
begun = now.call
(0..).each do |number|
  break if File.exist?(over)

  sleep([0, begun + number.fdiv(Integer(per_second)) - now.call].max)
  klass, failures =
    case random.rand
    when 0...0.65 then [Shop::Invoice, 0]
    when 0.65...0.75 then [Shop::Invoice, 1]
    when 0.75...0.8 then [Shop::Invoice, 9]
    else [Shop::Mail, random.rand < 0.2 ? 1 : 0]
    end
  before = Process.clock_gettime(Process::CLOCK_REALTIME)
  klass.perform_async("p-#{number}", failures)
  Shop::Oracle.write("enqueued", "p-#{number}", class: klass.name, delay_s: nil, before: before)
end
Jobtide.close
