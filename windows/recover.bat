@echo off
rem Takes away all load of CloudResourceOptimizer on this host and what a daemon has left.
rem Finds any Python from 3.7 on and hands all arguments to recover_system.py;
rem see recover.bat --help. To be run as administrator.
setlocal
set "TOOL=%~dp0..\recover\recover_system.py"
if not exist "%TOOL%" set "TOOL=%~dp0recover_system.py"
set "CHECK=import sys; sys.exit(sys.version_info < (3, 7))"

set "PY="
py -3 -I -c "%CHECK%" >nul 2>&1 && set "PY=py -3"
if not defined PY (python -I -c "%CHECK%" >nul 2>&1 && set "PY=python")
if not defined PY ("%~dp0..\.venv\Scripts\python.exe" -I -c "%CHECK%" >nul 2>&1 && set PY="%~dp0..\.venv\Scripts\python.exe")
if not defined PY (
  echo recover.bat: needs Python 3.7 or newer and found none
  echo   remedy: sc stop CloudResourceOptimizer, then install Python from python.org and start again
  exit /b 127
)
%PY% -I -B "%TOOL%" %*
exit /b %errorlevel%
