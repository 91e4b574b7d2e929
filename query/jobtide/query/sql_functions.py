"""The ClickHouse functions that analysts may use, in lower case: they compute, and touch nothing but their arguments.

Data only. What reaches outside of the query (file, url, dictGet, joinGet, getSetting, sleep, …) is absent and must stay so.
"""

from __future__ import annotations

_ARITHMETIC = """
plus minus multiply divide intdiv intdivorzero modulo mod abs sign negate greatest least round floor ceil ceiling trunc truncate roundbankers
sqrt cbrt exp exp2 exp10 log ln log2 log10 pow power sin cos tan asin acos atan erf erfc lgamma pi e isnan isinfinite isfinite bitand bitor
bitxor bitnot bitshiftleft bitshiftright gcd lcm equals notequals less greater lessorequals greaterorequals and or not xor rounddown roundtoexp2
sum_
"""
_CONDITIONS = "if multiif case ifnull nullif coalesce isnull isnotnull assumenotnull tonullable transform caseWithExpression iszeroornull"
_TEXT = """
length lengthutf8 empty notempty lower upper lcase ucase lowerutf8 upperutf8 reverse concat concatwithseparator concat_ws substring substr mid
substringutf8 left right trim ltrim rtrim trimleft trimright trimboth replace replaceone replaceall replaceregexpone replaceregexpall position
locate positioncaseinsensitive startswith endswith match multimatchany like notlike ilike extract extractall splitbychar splitbystring
splitbyregexp arraystringconcat format tostring tofixedstring leftpad rightpad lpad rpad repeat ascii char hex unhex base64encode ngrams tokens
countsubstrings countmatches initcap
"""
_TIME = """
now now64 today yesterday todate todate32 todatetime todatetime64 tounixtimestamp tounixtimestamp64micro tounixtimestamp64milli fromunixtimestamp
fromunixtimestamp64micro fromunixtimestamp64milli toyear toquarter tomonth todayofyear todayofmonth todayofweek tohour tominute tosecond
tostartofyear tostartofquarter tostartofmonth tostartofweek tostartofday tostartofhour tostartofminute tostartofsecond tostartoffiveminutes
tostartoffiveminute tostartoftenminutes tostartoffifteenminutes tostartofinterval tomonday toyyyymm toyyyymmdd datediff date_diff dateadd
date_add datesub date_sub addseconds addminutes addhours adddays addweeks addmonths addyears subtractseconds subtractminutes subtracthours
subtractdays subtractweeks subtractmonths subtractyears tointervalsecond tointervalminute tointervalhour tointervalday tointervalweek
tointervalmonth tointervalyear formatdatetime parsedatetime parsedatetimebesteffort parsedatetime64besteffort datename totimezone datetrunc
date_trunc timestamp_trunc year month day hour minute second timeslot age date
"""
_CONVERSIONS = """
cast accuratecast accuratecastornull accuratecastordefault toint8 toint16 toint32 toint64 touint8 touint16 touint32 touint64 tofloat32 tofloat64
todecimal32 todecimal64 toint64ornull toint32ornull tofloat64ornull touint64ornull toint64orzero tofloat64orzero touint64orzero tobool totypename
tolowcardinality reinterpretasint64 todecimal128
"""
_ARRAYS = """
array range arrayconcat arraymap arrayfilter arrayfill arrayexists arrayall arraycount arraysum arrayavg arraymin arraymax arrayproduct arraysort
arrayreversesort arrayreverse arraydistinct arrayuniq arrayelement arrayslice arrayfirst arraylast arrayfirstindex arraylastindex arraycumsum
arraydifference arrayjoin arrayzip arrayenumerate arraycompact arrayflatten arrayintersect arraypushback arraypushfront arraypopback
arraypopfront arrayresize has hasall hasany indexof tuple tupleelement untuple map mapkeys mapvalues mapcontains mapadd mapfilter mapapply
mapfromarrays emptyarraystring
"""
_JSON = """
jsonextract jsonextractstring jsonextractint jsonextractuint jsonextractfloat jsonextractbool jsonextractraw jsonextractarrayraw jsonextractkeys
jsonhas jsonlength jsontype isvalidjson simplejsonextractstring simplejsonextractint simplejsonextractfloat simplejsonhas json_extract
"""
_HASHES = "cityhash64 siphash64 xxhash64 md5 sha256 halfmd5 crc32 farmhash64"
_WINDOWS = """
row_number rank dense_rank percent_rank cume_dist ntile lag lead laginframe leadinframe first_value last_value nth_value runningdifference
runningaccumulate exponentialmovingaverage
"""
FUNCTIONS = frozenset(" ".join((_ARITHMETIC, _CONDITIONS, _TEXT, _TIME, _CONVERSIONS, _ARRAYS, _JSON, _HASHES, _WINDOWS)).lower().split())

_AGGREGATES = """
count sum min max avg any anylast anyheavy argmin argmax uniq uniqexact uniqcombined uniqcombined64 uniqhll12 approx_count_distinct median
medianexact quantile quantiles quantileexact quantilesexact quantileexactlow quantileexacthigh quantiletdigest quantilestdigest quantiletiming
quantilestiming quantiledd quantilesdd quantiledeterministic quantileexactweighted quantileinterpolatedweighted stddevpop stddevsamp varpop
varsamp stddev variance var_pop var_samp stddev_pop stddev_samp covarpop covarsamp corr skewpop skewsamp kurtpop kurtsamp grouparray
groupuniqarray grouparraysorted groupconcat string_agg topk topkweighted summap minmap maxmap sumwithoverflow sumkahan groupbitand groupbitor
groupbitxor boundingratio simplelinearregression mannwhitneyutest studentttest welchttest kolmogorovsmirnovtest histogram entropy deltasum
deltasumtimestamp sequencecount sequencematch windowfunnel retention maxintersections rankcorr contingency cramersv any_value first_value
last_value array_agg approx_top_k approx_top_sum grouparraymovingavg grouparraymovingsum count_if
"""
AGGREGATES = frozenset(_AGGREGATES.split())

COMBINATORS = ("if", "distinct", "ornull", "ordefault", "array", "map", "argmin", "argmax")
