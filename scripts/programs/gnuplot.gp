# n points of a fixed series as curves, smoothed, sorted and binned; then a surface with contours.
set terminal svg size 1200,800 dynamic
set output 'curves.svg'
set samples n
set table $data
plot [0:100] sin(x * 7) * cos(x * x) + x / 50
unset table
set samples 1000
set multiplot layout 2, 2
plot $data using 1:2 smooth unique with lines
plot $data using (floor($2 * 200)):(1) smooth frequency with steps
plot $data using 1:2 every 50 smooth acsplines, $data using 1:2 every 20 smooth bezier
plot $data using 2:1 every 10 smooth cumulative with lines
unset multiplot
set output 'surface.svg'
side = int(sqrt(n)) / 2
set isosamples side, side
set contour both
set cntrparam levels 12
set hidden3d
splot [-3:3][-3:3] sin(x * x + y) * exp(-0.1 * (x * x + y * y)) with lines
